#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/random.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/train/experiment.h>

#include <algorithm>

#include "train/amounts.h"
#include "train/registry.h"

namespace pcxx::train {
namespace {

nn::init::Scheme scheme(const Config& config) {
  using nn::init::Scheme;
  const auto& wanted = config.text("init");
  for (const auto one : {Scheme::kKaiming, Scheme::kNormPreserving, Scheme::kLecun,
                         Scheme::kOrthogonal, Scheme::kUnitOrthogonal}) {
    if (nn::init::name(one) == wanted) return one;
  }
  user_error("init = '{}' is not an initialisation", wanted);
}

void condition_(nn::NetworkImpl& network, const Config& config) {
  const double kappa = config.real("condition_number");
  if (kappa > 0) nn::set_condition_number_(network, kappa);
}

std::vector<std::int64_t> named_widths(const Config& config) {
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

std::vector<std::int64_t> drawn_widths(const Config& config) {
  auto n = named_widths(config);
  check_network(config, n);
  return n;
}

// Every hidden layer of the kind that `layer` names.
nn::NetworkOptions with_own_layers(nn::NetworkOptions options, const Config& config) {
  const auto& name = config.text("layer");
  if (config.text("architecture") == "residual") {
    user_error("layer = '{}' does not go with architecture = 'residual', whose layers are Dense",
               name);
  }
  if (options.layers().size() < 2) {
    user_error("layer = '{}' is of hidden layers, and the network has none", name);
  }
  const auto maker = (*layers().find(name))(config);
  for (std::size_t l = 1; l < options.layers().size(); ++l) options = options.with_layer(l, maker);
  return options;
}

// What makes a network not linear: the end of a sentence.
std::string kind_of(const Config& config) {
  return has_own_layers(config) ? fmt::format("layer = '{}'", config.text("layer"))
                                : fmt::format("architecture = '{}'", config.text("architecture"));
}

// Of the network as it is drawn, with all its layers.
nn::NetworkOptions drawn_options(const Config& config) {
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

data::Targets targets(const Config& config) {
  using data::Targets;
  const auto& wanted = config.text("targets");
  for (const auto one : {Targets::kTeacher, Targets::kReluTeacher, Targets::kIndependent}) {
    if (data::name(one) == wanted) return one;
  }
  user_error("targets = '{}' are none", wanted);
}

inference::DescentOptions descent_options(const Config& config) {
  return {.max_steps = config.integer("inference_steps"),
          .step_size = config.real("inference_step_size"),
          .tolerance = config.real("inference_tolerance"),
          .energy_tolerance = config.real("inference_energy_tolerance"),
          .keep_unstable =
              config.has("unstable_inference") && config.text("unstable_inference") == "keep"};
}

}  // namespace

std::shared_ptr<const inference::Inference> make_inference(const Config& config) {
  const auto& name = config.text("inference");
  if (const auto* own = inferences().find(name)) return (*own)(config);
  const bool linear = is_linear(config);
  if (name == "closed_form" || (name == "auto" && linear)) {
    if (!linear) {
      user_error("inference = 'closed_form' needs a linear network, not {}", kind_of(config));
    }
    return std::make_shared<inference::ClosedForm>();
  }
  if (has_own_layers(config) && (name == "error_descent" || name == "state_descent")) {
    user_error("inference = '{}' needs Dense layers, not layer = '{}'; lbfgs takes any", name,
               config.text("layer"));
  }
  auto options = descent_options(config);
  if (name == "error_descent") return std::make_shared<inference::ErrorDescent>(options);
  if (name == "state_descent") {
    if (options.step_size == 0) {
      user_error(
          "inference = 'state_descent' needs an inference_step_size above 0, for example 0.05");
    }
    return std::make_shared<inference::StateDescent>(options);
  }
  if (options.step_size > 0) {
    user_error(
        "inference = '{}' takes no inference_step_size: leave it 0, or choose error_descent or "
        "state_descent",
        name);
  }
  return std::make_shared<inference::Lbfgs>(options);
}

bool is_linear(const Config& config) {
  const auto& architecture = config.text("architecture");
  return (architecture == "dln" || architecture == "residual") && !has_own_layers(config);
}

std::vector<std::int64_t> widths(const Config& config) {
  auto n = drawn_widths(config);
  if (is_collapsed(config)) n = {n.front(), n.back()};
  return n;
}

nn::NetworkOptions network_options(const Config& config) {
  auto options = drawn_options(config);
  if (!is_collapsed(config)) return options;
  if (!is_linear(config)) {
    user_error("collapsed = true needs a linear network, not {}", kind_of(config));
  }
  if (config.boolean("bias")) user_error("collapsed = true needs a network without bias");
  return nn::mlp(widths(config)).draw(false);
}

nn::Network draw_ensemble(const Config& config, const std::vector<std::int64_t>& seeds,
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

nn::Network draw_network(const Config& config, std::int64_t seed, at::Device device) {
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

// Its steps are whole ones: nothing may rescale them or follow them from afar.
std::unique_ptr<learning::LearningRule> make_kalman(const Config& config) {
  for (const auto& [key, only] : {std::pair("rescaling", "none"), std::pair("optimizer", "sgd")}) {
    if (config.has(key) && config.text(key) != only) {
      user_error(
          "rule = 'kpc' needs {} = '{}', not '{}'; other models can have a [[models]] table of "
          "their own",
          key, only, config.text(key));
    }
  }
  if (has_own_layers(config)) {
    user_error("rule = 'kpc' needs Dense layers, not layer = '{}'", config.text("layer"));
  }
  learning::KalmanOptions options;
  if (config.has("rho")) options.rho = config.real("rho");
  if (config.has("narrowing") && config.text("narrowing") == "constancy") {
    options.narrowing = learning::Narrowing::kConstancy;
  }
  return std::make_unique<learning::KalmanPredictiveCoding>(options);
}

}  // namespace

std::unique_ptr<learning::LearningRule> make_rule(const Config& config) {
  if (const auto* own = rules().find(config.text("rule"))) return (*own)(config);
  if (config.text("rule") == "bp") return std::make_unique<learning::Backpropagation>();
  if (is_kalman(config)) return make_kalman(config);
  return std::make_unique<learning::PredictiveCoding>(make_inference(config));
}

void check_sharing(const learning::LearningRule& rule, const parallel::Communicator& ranks) {
  if (ranks.size() == 1 || rule.sharing() != learning::Sharing::kNever) return;
  user_error("rule = '{}' weighs the samples of a batch against each other, and trains on one rank",
             rule.name());
}

std::unique_ptr<optim::Rescaling> make_rescaling(const Config& config) {
  if (const auto* own = rescalings().find(config.text("rescaling"))) return (*own)(config);
  optim::RescalingOptions options;
  options.name = config.text("rescaling");
  options.regularisation = config.real("regularisation");
  options.spectrum = optim::spectrum_from(config.text("spectrum"));
  options.as_printed = config.boolean("as_printed");
  options.denominator = config.text("alpha_denominator") == "presynaptic"
                            ? optim::AlphaDenominator::kPresynaptic
                            : optim::AlphaDenominator::kPreAndPost;
  if (const double floor = config.real("alpha_floor"); floor > 0) options.floor = floor;
  options.forgetting = config.real("forgetting");
  options.delta = config.real("delta");
  return optim::make_rescaling(options);
}

at::TensorOptions tensor_options(const Config& config, at::Device device) {
  return at::dtype(config.text("dtype") == "float32" ? at::kFloat : at::kDouble).device(device);
}

std::string best_rate_title(const Config& config) {
  return config.text("best_by") == "area" ? "best rate (area)" : "best rate";
}

data::LinearTeacher make_teacher(const Config& config, std::int64_t seed, at::Device device) {
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

std::vector<data::LinearTeacher> make_teachers(const Config& config,
                                               const std::vector<std::int64_t>& seeds,
                                               at::Device device) {
  std::vector<data::LinearTeacher> teachers;
  for (const auto seed : seeds) teachers.push_back(make_teacher(config, seed, device));
  return teachers;
}

}  // namespace pcxx::train
