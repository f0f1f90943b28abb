#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/core/error.h>
#include <pcxx/core/random.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/nn/conditioning.h>

#include <algorithm>

#include "catalog/amounts.h"
#include "catalog/registry.h"

namespace pcxx::catalog {
namespace {

nn::init::Scheme scheme(const config::Config& config) {
  return value_named<nn::init::Scheme>(config.text("init")).value();
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

std::vector<std::int64_t> drawn_widths(const config::Config& config) {
  auto n = named_widths(config);
  check_network(config, n);
  return n;
}

// Every hidden layer of the kind that `layer` names.
nn::NetworkOptions with_own_layers(nn::NetworkOptions options, const config::Config& config) {
  const auto& name = config.text("layer");
  if (config.text("architecture") == "residual") {
    user_error("layer = '{}' does not go with architecture = 'residual', whose layers are Dense",
               name);
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
  return has_own_layers(config) ? fmt::format("layer = '{}'", config.text("layer"))
                                : fmt::format("architecture = '{}'", config.text("architecture"));
}

// Of the network as it is drawn, with all its layers.
nn::NetworkOptions drawn_options(const config::Config& config) {
  using nn::Activation;
  const auto& architecture = config.text("architecture");
  const auto n = drawn_widths(config);
  auto options = architecture == "autoencoder" ? nn::mlp(n, Activation::kReLU, Activation::kSigmoid)
                 : architecture == "relu"      ? nn::mlp(n, Activation::kReLU)
                                               : nn::mlp(n);
  if (architecture == "residual") {
    for (const auto width : n) {
      if (width != n.front()) {
        user_error("architecture = 'residual' needs layers of one width, not {} and {}", n.front(),
                   width);
      }
    }
    options = nn::linear_residual(n.front(), static_cast<std::int64_t>(n.size()) - 1);
  }
  if (config.boolean("bias")) options = options.with_bias();
  options.draw(false);
  return has_own_layers(config) ? with_own_layers(std::move(options), config) : options;
}

// One layer that is the whole map.
nn::Network collapse(const nn::NetworkImpl& drawn, nn::NetworkOptions options) {
  nn::Network network(std::move(options));
  network->to(at::kDouble);
  network->layer(1).weight.copy_(metrics::effective_map(drawn));
  return network;
}

void copy_parameters(const nn::Layer& from, nn::Layer& to) {
  const auto values = from.parameters();
  auto parameters = to.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_(values[i]);
}

data::Targets targets(const config::Config& config) {
  return value_named<data::Targets>(config.text("targets")).value();
}

// The part that the config names; auto is the closed form of a linear network, and L-BFGS.
const inference::InferencePart& inference_part(const config::Config& config) {
  const auto& name = config.text("inference");
  if (name != "auto") return *inferences().find(name);
  return *inferences().find(is_linear(config) ? "closed_form" : "lbfgs");
}

}  // namespace

std::shared_ptr<const inference::Inference> make_inference(const config::Config& config) {
  const auto& part = inference_part(config);
  if (part.linear_only && !is_linear(config)) {
    user_error("inference = '{}' needs a linear network, not {}", part.name, kind_of(config));
  }
  if (part.dense_only && has_own_layers(config)) {
    user_error("inference = '{}' needs Dense layers, not layer = '{}'; lbfgs takes any", part.name,
               config.text("layer"));
  }
  return part.make(config);
}

bool is_linear(const config::Config& config) {
  const auto& architecture = config.text("architecture");
  return (architecture == "dln" || architecture == "residual") && !has_own_layers(config);
}

std::vector<std::int64_t> widths(const config::Config& config) {
  auto n = drawn_widths(config);
  if (is_collapsed(config)) n = {n.front(), n.back()};
  return n;
}

nn::NetworkOptions network_options(const config::Config& config) {
  auto options = drawn_options(config);
  if (!is_collapsed(config)) return options;
  if (!is_linear(config)) {
    user_error("collapsed = true needs a linear network, not {}", kind_of(config));
  }
  if (config.boolean("bias")) user_error("collapsed = true needs a network without bias");
  return nn::mlp(widths(config)).draw(false);
}

nn::Network draw_ensemble(const config::Config& config, const std::vector<std::int64_t>& seeds,
                          at::Device device) {
  const at::NoGradGuard no_grad;
  const auto options = network_options(config).ensemble(static_cast<std::int64_t>(seeds.size()));
  nn::Network network(drawn_options(config).ensemble(static_cast<std::int64_t>(seeds.size())));
  network->to(at::kDouble);
  for (std::size_t s = 0; s < seeds.size(); ++s) {
    nn::init::draw_member_(*network, static_cast<std::int64_t>(s), scheme(config),
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
  nn::init::draw_(*network, scheme(config),
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
    if (const auto* own = from.own_layer(l)) {
      copy_parameters(*own, *result->own_layer(l));
      continue;
    }
    const auto& layer = from.layer(l);
    result->layer(l).weight.copy_(layer.weight.index_select(0, index));
    if (layer.bias.defined()) result->layer(l).bias.copy_(layer.bias.index_select(0, index));
  }
  return result;
}

namespace {

// Steps that are whole ones: nothing may rescale them or follow them from afar.
void check_whole_steps(const learning::RulePart& part, const config::Config& config) {
  for (const auto& [key, only] : {std::pair("rescaling", "none"), std::pair("optimizer", "sgd")}) {
    if (!config.has(key) || config.text(key) == only) continue;
    user_error(
        "rule = '{}' needs {} = '{}', not '{}'; other models can have a [[models]] table of their "
        "own",
        part.name, key, only, config.text(key));
  }
}

}  // namespace

std::unique_ptr<learning::LearningRule> make_rule(const config::Config& config) {
  const auto& part = *rules().find(config.text("rule"));
  if (part.whole_steps) check_whole_steps(part, config);
  if (part.dense_only && has_own_layers(config)) {
    user_error("rule = '{}' needs Dense layers, not layer = '{}'", part.name, config.text("layer"));
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

std::optional<metrics::PredictionOptions> prediction_options(const config::Config& config) {
  const auto& rule = *rules().find(config.text("rule"));
  const auto& rescaling = *rescalings().find(config.text("rescaling"));
  if (!rule.lanes || !rescaling.predicts) return std::nullopt;
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
  const auto n = widths(config);
  const auto rank = config.integer("rank");
  if (rank > std::min(n.front(), n.back())) {
    user_error("rank = {} is more than a map from {} to {} can have", rank, n.front(), n.back());
  }
  return {data::LinearTeacherOptions(n.front(), n.back())
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
