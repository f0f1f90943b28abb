#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/core/error.h>
#include <pcxx/core/random.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/nn/conditioning.h>

#include <algorithm>

#include "catalog/amounts.h"
#include "catalog/registry.h"
#include "catalog/stack.h"
#include "core/text.h"

namespace pcxx::catalog {
namespace {

nn::DrawWeight draw_weight(const config::Config& config) {
  return inits().find(config.text("init"))->make(config);
}

void condition_(nn::NetworkImpl& network, const config::Config& config) {
  const double kappa = config.real("condition_number");
  if (kappa > 0) nn::set_condition_number_(network, kappa);
}

std::vector<std::int64_t> named_widths(const config::Config& config) {
  const bool listed = config.has("widths");
  if (listed && !(config.has("width") && config.integers("widths").empty())) {
    auto given = config.integers("widths");
    if (given.size() < 2) user_error("widths needs at least two numbers, of inputs and outputs");
    return given;
  }
  const auto width = config.integer("width");
  const auto or_width = [&](std::int64_t n) { return n == 0 ? width : n; };
  std::vector<std::int64_t> result(static_cast<std::size_t>(config.integer("hidden_layers")) + 2,
                                   width);
  result.front() = or_width(config.integer("inputs"));
  result.back() = or_width(config.integer("outputs"));
  return result;
}

std::vector<std::int64_t> widths_of(const nn::NetworkOptions& options) {
  std::vector<std::int64_t> n{options.layers().front().in_features()};
  for (const auto& layer : options.layers()) n.push_back(layer.out_features());
  return n;
}

// Every hidden layer of the kind that `layer` names.
nn::NetworkOptions with_custom_layers(nn::NetworkOptions options, const config::Config& config) {
  const auto& name = config.text("layer");
  const auto& architecture = config.text("architecture");
  if (architecture == "residual" || architecture == "mupc") {
    user_error("layer = '{}' does not go with architecture = '{}', which has layers of its own",
               name, architecture);
  }
  if (options.layers().size() < 2) {
    user_error("layer = '{}' is of hidden layers, and the network has none", name);
  }
  const auto maker = layers().find(name)->make(config);
  for (std::size_t l = 1; l < options.layers().size(); ++l) options = options.with_layer(l, maker);
  return options;
}

// What makes a network not linear: the end of a sentence.
std::string kind_of(const config::Config& config) {
  if (has_stack(config)) return fmt::format("layers = '{}'", shortened(config.text("layers")));
  return is_added(config, "layer")
             ? fmt::format("layer = '{}'", config.text("layer"))
             : fmt::format("architecture = '{}'", config.text("architecture"));
}

std::shared_ptr<const nn::Loss> make_loss(const config::Config& config,
                                          const nn::NetworkOptions& network) {
  if (!config.has("loss")) return nn::squared_error();
  auto loss = losses().find(config.text("loss"))->make(config);
  const auto output = network.layers().back().activation();
  if (loss->is_of_logits() && output != nn::Activation::kIdentity) {
    user_error("loss = '{}' needs a last layer without activation, not {}", config.text("loss"),
               kind_of(config));
  }
  return loss;
}

// As `layers` has them, between the ends that the other keys say.
nn::NetworkOptions stacked_options(const config::Config& config) {
  if (config.has("activation") && config.text("activation") != "relu") {
    user_error("activation = '{}' says nothing beside layers, each of which has its own",
               config.text("activation"));
  }
  const auto [inputs, outputs] = ends(config);
  const auto stack = stack_of(config, inputs, outputs);
  auto options = options_of(stack);
  double weights = 0;
  for (const auto& layer : stack) weights += layer.weights;
  check_network(config, widths_of(options), weights);
  return options;
}

// Of dense layers, which a machine can hold.
std::vector<std::int64_t> checked_widths(const config::Config& config) {
  auto n = named_widths(config);
  double weights = 0;
  for (std::size_t l = 1; l < n.size(); ++l) {
    weights += static_cast<double>(n[l - 1]) * static_cast<double>(n[l]);
  }
  check_network(config, n, weights);
  return n;
}

// Of the hidden layers, where the architecture has a choice.
nn::Activation hidden_activation(const config::Config& config, const ArchitecturePart& part) {
  const auto hidden = config.has("activation")
                          ? activations().find(config.text("activation"))->make(config)
                          : nn::Activation::kReLU;
  if (part.is_linear && hidden != nn::Activation::kReLU) {
    user_error("activation = '{}' needs architecture = '{}', not '{}'", nn::name(hidden),
               fmt::join(nonlinear_architectures(), "' or '"), part.name);
  }
  return hidden;
}

// As `architecture` has them, of the widths that the other keys say.
nn::NetworkOptions named_options(const config::Config& config) {
  const auto& part = *architectures().find(config.text("architecture"));
  auto options = part.make(checked_widths(config), hidden_activation(config, part));
  if (config.boolean("bias")) {
    if (part.name == "mupc") user_error("architecture = 'mupc' has no biases: bias = true");
    options = options.with_bias();
  }
  return is_added(config, "layer") ? with_custom_layers(std::move(options), config) : options;
}

// Of the network as it is drawn, with all its layers.
nn::NetworkOptions drawn_options(const config::Config& config) {
  auto options = has_stack(config) ? stacked_options(config) : named_options(config);
  return options.draw(false).loss(make_loss(config, options));
}

// One layer that is the whole map.
nn::Network collapse(const nn::NetworkImpl& drawn, nn::NetworkOptions options) {
  nn::Network network(std::move(options));
  network->to(at::kDouble);
  network->dense(1).weight.copy_(metrics::effective_map(drawn));
  return network;
}

data::Targets targets(const config::Config& config) {
  return value_named<data::Targets>(config.text("targets")).value();
}

// The part that the config names; auto is the closed form of a linear network, and L-BFGS.
const inference::InferencePart& inference_part(const config::Config& config) {
  const auto& name = config.text("inference");
  if (name != "auto") return *inferences().find(name);
  const bool is_quadratic = is_linear(config) && is_squared_error(config);
  return *inferences().find(is_quadratic ? "closed_form" : "lbfgs");
}

}  // namespace

std::shared_ptr<const inference::Inference> make_inference(const config::Config& config) {
  const auto& part = inference_part(config);
  if (part.linear_only && !is_linear(config)) {
    user_error("inference = '{}' needs a linear network, not {}", part.name, kind_of(config));
  }
  if (part.linear_only && !is_squared_error(config)) {
    user_error("inference = '{}' needs the squared error, not loss = '{}'", part.name,
               config.text("loss"));
  }
  return part.make(config);
}

bool is_linear(const config::Config& config) {
  return drawn_options(config).is_linear();
}

bool is_squared_error(const config::Config& config) {
  return drawn_options(config).loss()->is_squared_error();
}

bool has_custom_layers(const config::Config& config) {
  return !drawn_options(config).custom_layers().empty();
}

std::pair<std::int64_t, std::int64_t> ends(const config::Config& config) {
  const auto n = named_widths(config);
  return {n.front(), n.back()};
}

std::vector<std::int64_t> widths(const config::Config& config) {
  auto n = has_stack(config) ? widths_of(stacked_options(config)) : checked_widths(config);
  return is_collapsed(config) ? std::vector{n.front(), n.back()} : n;
}

nn::NetworkOptions network_options(const config::Config& config) {
  auto options = drawn_options(config);
  if (!is_collapsed(config)) return options;
  if (!options.is_linear()) {
    user_error("collapsed = true needs a linear network, not {}", kind_of(config));
  }
  if (options.has_bias()) user_error("collapsed = true needs a network without bias");
  const auto [inputs, outputs] = ends(config);
  return nn::mlp({inputs, outputs}).draw(false).loss(options.loss());
}

nn::Network draw_ensemble(const config::Config& config, const std::vector<std::int64_t>& seeds,
                          at::Device device) {
  const at::NoGradGuard no_grad;
  const auto options = network_options(config).ensemble(static_cast<std::int64_t>(seeds.size()));
  nn::Network network(drawn_options(config).ensemble(static_cast<std::int64_t>(seeds.size())));
  network->to(at::kDouble);
  const auto draw = draw_weight(config);
  for (std::size_t s = 0; s < seeds.size(); ++s) {
    nn::init::draw_member_(*network, static_cast<std::int64_t>(s), draw,
                           make_generator(static_cast<std::uint64_t>(seeds[s]), Purpose::kWeights));
  }
  condition_(*network, config);
  if (is_collapsed(config)) network = collapse(*network, options);
  network->to(device, tensor_options(config, device).dtype().toScalarType());
  return network;
}

nn::Network draw_network(const config::Config& config, std::int64_t seed, at::Device device) {
  const at::NoGradGuard no_grad;
  const auto options = network_options(config);
  nn::Network network(drawn_options(config));
  network->to(at::kDouble);
  nn::init::draw_(*network, draw_weight(config),
                  make_generator(static_cast<std::uint64_t>(seed), Purpose::kWeights));
  condition_(*network, config);
  if (is_collapsed(config)) network = collapse(*network, options);
  network->to(device, tensor_options(config, device).dtype().toScalarType());
  return network;
}

nn::Network select_members(const nn::NetworkImpl& from, const at::Tensor& index) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(from.members(), "only an ensemble has members to select");
  nn::Network result(from.options.ensemble(index.numel()));
  result->to(from.tensor_options().device(), from.tensor_options().dtype().toScalarType());
  for (std::size_t l = 1; l <= from.size(); ++l) {
    result->layer(l).copy_members_(from.layer(l), index);
  }
  return result;
}

namespace {

// Steps that are whole ones: nothing may rescale them or follow them from afar.
void check_whole_steps(const learning::RulePart& part, const config::Config& config) {
  const auto refuse = [&](const char* key, const char* only) {
    user_error(
        "rule = '{}' needs {} = '{}', not '{}'; other models can have a [[models]] table of their "
        "own",
        part.name, key, only, config.text(key));
  };
  if (config.has("rescaling") && config.text("rescaling") != "none") refuse("rescaling", "none");
  if (config.has("optimizer") && !is_plain_sgd(config)) refuse("optimizer", "sgd");
}

// Layers that are not Dense are made for it.
void check_weights(const learning::RulePart& part, const config::Config& config) {
  const auto options = drawn_options(config);
  for (const auto& [l, maker] : options.custom_layers()) {
    const auto& dense = options.layers()[l - 1];
    const auto layer = maker(dense.in_features(), dense.out_features());
    if (layer->affine().weight.defined() || layer->parameters().empty()) continue;
    user_error("rule = '{}' needs layers of one weight or none, and layer {} has other parameters",
               part.name, l);
  }
}

}  // namespace

std::unique_ptr<learning::LearningRule> make_rule(const config::Config& config) {
  const auto& part = *rules().find(config.text("rule"));
  if (part.whole_steps) check_whole_steps(part, config);
  if (part.weights_only) check_weights(part, config);
  if (const auto& [key, value] = part.dense_only; config.has(key) && config.text(key) == value) {
    if (has_custom_layers(config) || !is_squared_error(config)) {
      user_error("{} = '{}' needs Dense layers and the squared error", key, value);
    }
  }
  const bool infers = part.infers && config.has("inference");
  return part.make(config, infers ? make_inference(config) : nullptr);
}

void check_sharing(const learning::LearningRule& rule, const parallel::Communicator& ranks) {
  if (ranks.size() == 1 || rule.sharing() != learning::Sharing::kNever) return;
  user_error("rule = '{}' weighs the samples of a batch against each other, and trains on one rank",
             rule.name());
}

std::unique_ptr<optim::Rescaling> make_rescaling(const config::Config& config) {
  return rescalings().find(config.text("rescaling"))->make(config);
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const config::Config& config,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate) {
  const auto& part = *optimizers().find(config.text("optimizer"));
  return part.make(config, std::move(parameters), learning_rate);
}

std::optional<optim::Schedule> make_schedule(const config::Config& config) {
  if (!config.has("schedule")) return std::nullopt;
  auto schedule = schedules().find(config.text("schedule"))->make(config);
  return schedule ? std::optional(std::move(schedule)) : std::nullopt;
}

bool is_plain_sgd(const config::Config& config) {
  const auto& part = *optimizers().find(config.text("optimizer"));
  return part.is_plain_sgd && part.is_plain_sgd(config);
}

std::optional<metrics::PredictionOptions> prediction_options(const config::Config& config) {
  const auto& rule = *rules().find(config.text("rule"));
  const auto& rescaling = *rescalings().find(config.text("rescaling"));
  if (!rule.lanes || !rescaling.predicts || !is_squared_error(config)) return std::nullopt;
  if (rule.tensors_for && !rule.tensors_for(config).empty()) return std::nullopt;
  metrics::PredictionOptions options;
  options.rule = *rule.lanes == ensemble::Rule::kBackpropagation
                     ? metrics::PredictedRule::kBackpropagation
                     : metrics::PredictedRule::kPredictiveCoding;
  rescaling.predicts(config, options);
  return options;
}

at::TensorOptions tensor_options(const config::Config& config, at::Device device) {
  return at::dtype(config.text("dtype") == "float32" ? at::kFloat : at::kDouble).device(device);
}

metrics::BestBy best_by(const config::Config& config) {
  return value_named<metrics::BestBy>(config.text("best_by")).value();
}

std::string best_rate_title(const config::Config& config) {
  return best_by(config) == metrics::BestBy::kArea ? "best rate (area)" : "best rate";
}

data::LinearTeacher make_teacher(const config::Config& config, std::int64_t seed,
                                 at::Device device) {
  const auto [inputs, outputs] = ends(config);
  const auto rank = config.integer("rank");
  if (rank > std::min(inputs, outputs)) {
    user_error("rank = {} is more than a map from {} to {} can have", rank, inputs, outputs);
  }
  return {data::LinearTeacherOptions(inputs, outputs)
              .targets(targets(config))
              .noise(config.real("noise"))
              .rank(rank),
          static_cast<std::uint64_t>(seed), tensor_options(config, device)};
}

std::vector<data::LinearTeacher> make_teachers(const config::Config& config,
                                               const std::vector<std::int64_t>& seeds,
                                               at::Device device) {
  std::vector<data::LinearTeacher> teachers;
  for (const auto seed : seeds) teachers.push_back(make_teacher(config, seed, device));
  return teachers;
}

}  // namespace pcxx::catalog
