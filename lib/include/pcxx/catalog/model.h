#pragma once

#include <pcxx/config/config.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/nn/network.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::learning {
struct RulePart;
}
namespace pcxx::optim {
struct RescalingPart;
}

/// What configs say, read once: below the catalog nobody asks for keys by their names.
namespace pcxx::catalog {

/// The config of one model: one rule, rescaling, task and shape. A key that the program does not
/// have leaves its member as it is here.
struct Model {
  /// Throws UserError where the widths are impossible.
  Model(const config::Config& of_one_model);

  config::Config config;  ///< for the columns of metrics.csv, and for what makes its parts
  std::string name;       ///< for people: "pc + decorrelation", "bp + projection, collapsed"

  std::string rule = "bp";
  std::string rescaling = "none";
  const learning::RulePart* rule_part = nullptr;
  const optim::RescalingPart* rescaling_part = nullptr;
  std::string optimizer = "sgd";
  bool plain_sgd = true;  ///< W <- W - rate * gradient, which several members take together
  std::string inference = "auto";
  bool ends_unstable = true;  ///< a run whose fixed inference step has become unstable
  double regularisation = 0;

  nn::NetworkOptions network{{}};    ///< one layer when collapsed
  std::vector<std::int64_t> widths;  ///< n_0..n_L; n_0 and n_L when collapsed
  std::int64_t parameters = 0;       ///< weights of Dense layers of these widths
  bool linear = false;               ///< one linear map of Dense layers
  std::string loss = "squared_error";
  bool squared_error = true;
  bool custom_layers = false;  ///< some are not Dense
  bool collapsed = false;      ///< its layers are multiplied into one before it trains
  bool bias = false;
  std::string dtype = "float64";

  data::Targets targets = data::Targets::kTeacher;
  double noise = 0;
  std::int64_t rank = 0;
  std::int64_t batch_size = 1;

  std::int64_t steps = 0;
  std::vector<double> rates;
  std::vector<std::int64_t> seeds;
  std::string engine = "auto";
  std::vector<std::string> measure;
  std::int64_t test_every = 1;        ///< steps; 0: at the start, the end and `test_at`
  std::vector<std::int64_t> test_at;  ///< steps, ascending: those that have seen so many samples
  bool keeps_best = false;            ///< ends with the weights of the best validation test
  std::int64_t patience = 0;          ///< tests without a better one that end it; 0: none does
};

/// The model with as many steps as make its `epochs` passes over `samples`; itself where it asks
/// for none.
Model with_epochs(const Model& model, std::int64_t samples);

/// How a run uses its machine. A key that the program does not have leaves its member as it is.
struct Machine {
  explicit Machine(const config::Config& config);

  std::string device = "cpu";
  std::int64_t threads = 0;            ///< jobs side by side; 0: as many as there are processors
  std::int64_t run_threads = 1;        ///< threads inside one job
  std::int64_t checkpoint_every = 0;   ///< steps; 0: only when interrupted
  std::optional<double> rank_timeout;  ///< seconds
};

/// Whether the model's layers are multiplied into one before it trains: the key `collapsed`.
bool is_collapsed(const config::Config& model);

/// Whether the key `widths` lists every layer, so that hidden_layers, width, inputs and outputs
/// mean nothing.
bool lists_widths(const config::Config& config);

/// "pc + decorrelation", "pc" or "bp + projection, collapsed": a model's name for people.
std::string model_name(const config::Config& model);

}  // namespace pcxx::catalog
