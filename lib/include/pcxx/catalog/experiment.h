#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <pcxx/config/config.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/inference/inference.h>
#include <pcxx/learning/rule.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/nn/network.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/optim/schedule.h>
#include <pcxx/parallel/communicator.h>
#include <torch/optim/optimizer.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// What the keys of a config stand for. Every program builds its networks, rules and optimizers
/// here, so that a key means the same everywhere. Impossible combinations throw UserError.
namespace pcxx::catalog {

/// Inputs and outputs of the network, which its task has too: the ends of `widths`, or `inputs` and
/// `outputs`.
std::pair<std::int64_t, std::int64_t> ends(const config::Config& config);

/// n_0..n_L: of `layers` when given, of `widths` when given, otherwise `inputs`, `hidden_layers`
/// times `width`, `outputs`; inputs and outputs of 0 stand for `width`. n_0 and n_L alone when
/// `collapsed`.
std::vector<std::int64_t> widths(const config::Config& config);

/// The layers of `layers`, or else of `architecture`, with layer and bias; one linear layer when
/// `collapsed`.
nn::NetworkOptions network_options(const config::Config& config);

/// Whether the network is one linear map, of Dense layers.
bool is_linear(const config::Config& config);

/// Whether some layers are not Dense; no ensemble of several members is made of such a network.
bool has_custom_layers(const config::Config& config);

/// Whether the loss is the squared error.
bool is_squared_error(const config::Config& config);

/// The network with one member per seed (an ensemble also for one seed; layers of the
/// program's own allow no more), drawn by `init` and set to
/// `condition_number`. When `collapsed`, its one layer is the product of all layers so drawn.
nn::Network draw_ensemble(const config::Config& config, const std::vector<std::int64_t>& seeds,
                          at::Device device);

/// The network of one seed, without ensemble dimension; the same weights as its member in an
/// ensemble.
nn::Network draw_network(const config::Config& config, std::int64_t seed, at::Device device);

/// An ensemble of members of another one: member r is member index[r] there.
nn::Network select_members(const nn::NetworkImpl& from, const at::Tensor& index);

/// inference and its options; auto is resolved by network and loss.
std::shared_ptr<const inference::Inference> make_inference(const config::Config& config);

/// rule and inference.
std::unique_ptr<learning::LearningRule> make_rule(const config::Config& config);

/// Throws UserError where there are several ranks and the rule can share no batch among them.
void check_sharing(const learning::LearningRule& rule, const parallel::Communicator& ranks);

/// rescaling and its options.
std::unique_ptr<optim::Rescaling> make_rescaling(const config::Config& config);

/// optimizer and its options, at one learning rate.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(const config::Config& config,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate);

/// schedule and its options; nothing where the learning rate stays as it is.
std::optional<optim::Schedule> make_schedule(const config::Config& config);

/// Whether the optimizer steps by `theta -= rate * grad` and remembers nothing, so that the lanes
/// of ensemble/ and optim::MemberSGD, which has a rate for every member, do the same.
bool is_plain_sgd(const config::Config& config);

/// What theory needs to know to predict the update of a model in a linear network; nothing where it
/// does not predict that rule or rescaling.
std::optional<metrics::PredictionOptions> prediction_options(const config::Config& config);

/// dtype and device as tensors take them.
at::TensorOptions tensor_options(const config::Config& config, at::Device device);

/// What makes a rate the best.
metrics::BestBy best_by(const config::Config& config);

/// Above a column of best rates: "best rate", with the word for best_by where it is not the
/// paper's.
std::string best_rate_title(const config::Config& config);

/// Teacher of one seed, and of several: inputs, targets and noise.
data::LinearTeacher make_teacher(const config::Config& config, std::int64_t seed,
                                 at::Device device);
std::vector<data::LinearTeacher> make_teachers(const config::Config& config,
                                               const std::vector<std::int64_t>& seeds,
                                               at::Device device);

}  // namespace pcxx::catalog
