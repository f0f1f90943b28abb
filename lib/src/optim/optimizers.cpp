#include <pcxx/optim/optimizers.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <utility>

namespace pcxx::optim {
namespace {

using Parameters = std::vector<at::Tensor>;
using Made = std::unique_ptr<torch::optim::Optimizer>;

template <typename Optimizer, typename Options>
Made make(Parameters parameters, double learning_rate) {
  return std::make_unique<Optimizer>(std::move(parameters), Options(learning_rate));
}

struct Entry {
  const char* name;
  Made (*make)(Parameters, double);
};

constexpr Entry kOptimizers[] = {
    {"sgd", &make<torch::optim::SGD, torch::optim::SGDOptions>},
    {"adam", &make<torch::optim::Adam, torch::optim::AdamOptions>},
    {"adamw", &make<torch::optim::AdamW, torch::optim::AdamWOptions>},
    {"rmsprop", &make<torch::optim::RMSprop, torch::optim::RMSpropOptions>},
};

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const auto& entry : kOptimizers) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::string_view name,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate) {
  for (const auto& entry : kOptimizers) {
    if (name == entry.name) return entry.make(std::move(parameters), learning_rate);
  }
  TORCH_CHECK(false, "no optimizer is called '", name, "'");
}

}  // namespace pcxx::optim
