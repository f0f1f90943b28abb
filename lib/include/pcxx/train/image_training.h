#pragma once

#include <pcxx/catalog/model.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/nn/network.h>
#include <pcxx/run/run.h>
#include <pcxx/run/table.h>
#include <pcxx/train/training.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What the programs that learn from images have in common: they differ in what a network is to
/// make of an image, and in what they measure on the test images.
namespace pcxx::train {

using data::ImageSets;

/// The images that the config names (catalog/image_sets.h); dataset = "auto" is resolved in the
/// run, which takes the images as what it goes by.
ImageSets load_image_sets(run::Run& run, bool labels);

/// The first line of a program's output: which data set was taken, and from where.
void print_dataset(const run::Run& run);

/// What networks are to make of images.
class ImageTask {
 public:
  virtual ~ImageTask() = default;

  /// Label of the progress line.
  virtual std::string_view name() const = 0;
  /// The test metric that `best_rate` goes by.
  virtual std::string_view criterion() const { return "test_error"; }
  /// Whether it is the better the larger it is.
  virtual bool more_is_better() const { return false; }
  /// Throws UserError unless networks of this model fit these images.
  virtual void check(const catalog::Model& model, const ImageSets& sets) const = 0;
  /// Inputs and targets.
  virtual data::Batch batch(const data::Images& images, const at::Tensor& index,
                            at::TensorOptions options) const = 0;
  /// What to measure on the test images beside `test_error`, the mean squared error: test_<name>,
  /// each a mean over the images.
  virtual std::map<std::string, double> test(const nn::NetworkImpl&, const data::Batch&) const {
    return {};
  }
  /// The best rate of one model, from its runs [rate][seed]; nullopt when every rate has diverged.
  virtual std::optional<metrics::BestRate> best_rate(const std::vector<std::vector<Training>>& runs,
                                                     const std::vector<double>& rates,
                                                     metrics::BestBy best_by) const = 0;
};

/// Curves of one test metric, [rate][seed].
std::vector<std::vector<metrics::Curve>> test_curves(const std::vector<std::vector<Training>>& runs,
                                                     const std::string& metric);

/// All runs of one model over the seeds that all models have finished.
struct ImageModel {
  catalog::Model model;
  std::vector<double> rates;
  std::vector<std::int64_t> seeds;
  std::vector<std::vector<Training>> runs;  ///< [rate][seed]
  std::optional<metrics::BestRate> best;
  nlohmann::json summary;             ///< best rate, what the tests ended with there, weights
  std::vector<nn::Network> networks;  ///< of each seed at the best rate, on the CPU
};

/// Every model of a run, at every rate and from every seed, as jobs (run/work.h) that go on from
/// checkpoints.
///
///   ImageSweep sweep(run, task);
///   for (const auto& model : sweep.train()) run.print("{}", model.summary.dump());
///
/// Where there are validation images, every test is made on them too, as validation_<name> in place
/// of test_<name>, and they choose the best rates. Models of the same seed see the same weights and
/// batches. Where `epochs` is not 0 it takes the place of `steps`: as many steps as visit every
/// image that often.
class ImageSweep {
 public:
  /// Loads the images. Throws UserError where a model is impossible.
  ImageSweep(run::Run& run, const ImageTask& task);

  const ImageSets& sets() const { return sets_; }
  /// Inputs and targets of the test images.
  const data::Batch& test_batch(const catalog::Model& model) const;

  /// Trains, records every measurement, saves the weights at the best rates and adds the models to
  /// the summary. Beside the weights lies predictions.safetensors, `input.<dtype>`, the first eight
  /// test images, and `output.<file>`, what the network of each file of weights makes of them.
  /// Empty when no seed is finished yet.
  std::vector<ImageModel> train();

 private:
  struct Job {
    std::size_t model;
    std::size_t rate;  // of the model's
    std::int64_t seed;
  };

  void prepare(const catalog::Model& model);
  void check_keeping(const catalog::Model& model) const;
  bool validates() const;
  std::optional<metrics::BestRate> best_rate(const ImageModel& result) const;
  double rate_of(const Job& job) const;
  run::Work work() const;
  std::vector<ImageModel> collect(const run::Parts& parts) const;
  void record(const ImageModel& result) const;
  void summarise(ImageModel& result) const;
  void compare(std::vector<ImageModel>& results) const;
  void keep(const run::Parts& parts, ImageModel& result);
  void write_predictions(const std::vector<ImageModel>& results) const;

  run::Run& run_;
  const ImageTask& task_;
  ImageSets sets_;
  std::vector<catalog::Model> models_;
  std::vector<std::size_t> cells_;  // of every model
  std::vector<Job> jobs_;
  std::map<std::string, data::Batch> test_batches_;  // by dtype
  std::map<std::string, data::Batch> validation_batches_;
  int saved_ = 0;
};

/// A column of the table: its title, and the number of the summary that it shows.
struct Headline {
  std::string title;
  std::string number;
};

/// One row per model: its best rate, the headlines, and how its inference did.
run::Table image_table(const run::Run& run, const std::vector<ImageModel>& results,
                       const std::vector<Headline>& headlines);

/// The keys of such programs, with their defaults; `more` are keys of the vocabulary.
config::Schema image_schema(const std::vector<std::string>& more = {});

}  // namespace pcxx::train
