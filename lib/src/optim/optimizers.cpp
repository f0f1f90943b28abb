#include <pcxx/core/error.h>
#include <pcxx/optim/optimizers.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <utility>

#include "optim/parts.h"

namespace pcxx::optim {
namespace {

// What configs can say beside the rate; all else is as PyTorch has it.
struct Settings {
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
};

using Keys = config::OptionKeys<Settings>;

void add_momentum(Keys& keys) {
  keys.add(&Settings::momentum,
           {.name = "momentum",
            .doc = "sgd, rmsprop: the fraction of the last step's direction that is added to the "
                   "new one",
            .minimum = 0});
}

void add_nesterov(Keys& keys) {
  keys.add(&Settings::nesterov,
           {.name = "nesterov", .doc = "sgd: whether momentum looks ahead, as Nesterov has it"});
}

void add_weight_decay(Keys& keys) {
  keys.add(&Settings::weight_decay,
           {.name = "weight_decay",
            .doc = "the fraction of each parameter that is added to its gradient; in adamw it "
                   "leaves the parameter itself, times the learning rate, and 0 is PyTorch's 0.01",
            .minimum = 0});
}

// `configure` takes the settings over into the options.
template <typename Optimizer, typename Options, typename Configure>
OptimizerPart part(std::string name, const Keys& keys, Configure configure) {
  OptimizerPart made;
  made.name = std::move(name);
  made.options = keys.keys();
  made.make = [keys, configure](const config::Config& config, std::vector<at::Tensor> parameters,
                                double learning_rate) {
    Options options(learning_rate);
    configure(options, keys.read(config));
    return std::make_unique<Optimizer>(std::move(parameters), options);
  };
  return made;
}

}  // namespace

OptimizerPart sgd_part() {
  Keys keys;
  add_momentum(keys);
  add_nesterov(keys);
  add_weight_decay(keys);
  auto sgd = part<torch::optim::SGD, torch::optim::SGDOptions>(
      "sgd", keys, [](auto& options, const Settings& settings) {
        if (settings.nesterov && settings.momentum == 0) {
          user_error("nesterov = true needs a momentum above 0");
        }
        options.momentum(settings.momentum)
            .nesterov(settings.nesterov)
            .weight_decay(settings.weight_decay);
      });
  sgd.is_plain_sgd = [keys](const config::Config& config) {
    const auto settings = keys.read(config);
    return settings.momentum == 0 && settings.weight_decay == 0 && !settings.nesterov;
  };
  return sgd;
}

OptimizerPart adam_part() {
  Keys keys;
  add_weight_decay(keys);
  return part<torch::optim::Adam, torch::optim::AdamOptions>(
      "adam", keys,
      [](auto& options, const Settings& settings) { options.weight_decay(settings.weight_decay); });
}

OptimizerPart adamw_part() {
  Keys keys;
  add_weight_decay(keys);
  return part<torch::optim::AdamW, torch::optim::AdamWOptions>(
      "adamw", keys, [](auto& options, const Settings& settings) {
        if (settings.weight_decay > 0) options.weight_decay(settings.weight_decay);
      });
}

OptimizerPart rmsprop_part() {
  Keys keys;
  add_momentum(keys);
  add_weight_decay(keys);
  return part<torch::optim::RMSprop, torch::optim::RMSpropOptions>(
      "rmsprop", keys, [](auto& options, const Settings& settings) {
        options.momentum(settings.momentum).weight_decay(settings.weight_decay);
      });
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::string_view name,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate) {
  for (const auto& known : optimizer_parts()) {
    if (name == known.name) {
      return known.make(config::Config(config::Schema()), std::move(parameters), learning_rate);
    }
  }
  TORCH_CHECK(false, "no optimizer is called '", name, "'");
}

}  // namespace pcxx::optim
