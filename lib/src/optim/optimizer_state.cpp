#include "optim/optimizer_state.h"

#include <ATen/ATen.h>
#include <c10/util/Type.h>
#include <fmt/format.h>
#include <pcxx/optim/optimizers.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <memory>
#include <optional>
#include <utility>

namespace pcxx::optim {

namespace {

using namespace torch::optim;

constexpr const char* kRates = "learning_rates";  // [groups]
constexpr const char* kSteps = "steps";           // [parameters], -1 where nothing is remembered
constexpr const char* kMemory = "memory.";        // of an optimizer that is none of LibTorch's

struct Memory {
  std::int64_t* steps = nullptr;
  std::vector<std::pair<const char*, at::Tensor*>> tensors = {};
};

template <typename Adam>
Memory memory_of_adam(Adam& state) {
  return {&state.step(),
          {{"exp_avg", &state.exp_avg()},
           {"exp_avg_sq", &state.exp_avg_sq()},
           {"max_exp_avg_sq", &state.max_exp_avg_sq()}}};
}

std::optional<Memory> find_memory(OptimizerParamState& state) {
  if (auto* sgd = dynamic_cast<SGDParamState*>(&state)) {
    return Memory{nullptr, {{"momentum_buffer", &sgd->momentum_buffer()}}};
  }
  if (auto* adam = dynamic_cast<AdamParamState*>(&state)) return memory_of_adam(*adam);
  if (auto* adamw = dynamic_cast<AdamWParamState*>(&state)) return memory_of_adam(*adamw);
  if (auto* rms = dynamic_cast<RMSpropParamState*>(&state)) {
    return Memory{&rms->step(),
                  {{"square_avg", &rms->square_avg()},
                   {"momentum_buffer", &rms->momentum_buffer()},
                   {"grad_avg", &rms->grad_avg()}}};
  }
  if (auto* adagrad = dynamic_cast<AdagradParamState*>(&state)) {
    return Memory{&adagrad->step(), {{"sum", &adagrad->sum()}}};
  }
  return std::nullopt;
}

std::unique_ptr<OptimizerParamState> new_state(const Optimizer& optimizer) {
  if (dynamic_cast<const SGD*>(&optimizer) != nullptr) return std::make_unique<SGDParamState>();
  if (dynamic_cast<const Adam*>(&optimizer) != nullptr) return std::make_unique<AdamParamState>();
  if (dynamic_cast<const AdamW*>(&optimizer) != nullptr) return std::make_unique<AdamWParamState>();
  if (dynamic_cast<const RMSprop*>(&optimizer) != nullptr) {
    return std::make_unique<RMSpropParamState>();
  }
  if (dynamic_cast<const Adagrad*>(&optimizer) != nullptr) {
    return std::make_unique<AdagradParamState>();
  }
  return nullptr;
}

std::vector<at::Tensor> parameters_of(const Optimizer& optimizer) {
  std::vector<at::Tensor> parameters;
  for (const auto& group : optimizer.param_groups()) {
    parameters.insert(parameters.end(), group.params().begin(), group.params().end());
  }
  return parameters;
}

std::string key(const char* name, std::size_t parameter) {
  return fmt::format("{}.{}", name, parameter);
}

// What LibTorch leaves undefined is a tensor without numbers.
at::Tensor or_none(const at::Tensor& tensor) {
  return tensor.defined() ? tensor : at::empty({0});
}

std::unique_ptr<OptimizerParamState> read_memory(const Optimizer& optimizer, const State& state,
                                                 std::size_t i, const at::Tensor& parameter,
                                                 std::int64_t steps) {
  auto memory = new_state(optimizer);
  TORCH_CHECK(memory, "the optimizer has no memory, and the state has one");
  const auto found = *find_memory(*memory);
  if (found.steps != nullptr) *found.steps = steps;
  for (const auto& [name, tensor] : found.tensors) {
    if (entry(state, key(name, i)).numel() == 0) continue;
    *tensor = entry_like(state, key(name, i), parameter.detach());
  }
  return memory;
}

State rates_of(const Optimizer& optimizer) {
  std::vector<double> rates;
  for (const auto& group : optimizer.param_groups()) rates.push_back(group.options().get_lr());
  return {{kRates, at::tensor(rates, at::kDouble)}};
}

std::vector<double> read_rates(const Optimizer& optimizer, const State& state) {
  const auto groups = static_cast<std::int64_t>(optimizer.param_groups().size());
  const auto rates = entry_like(state, kRates, at::empty({groups}, at::kDouble));
  std::vector<double> found;
  for (std::int64_t g = 0; g < groups; ++g) found.push_back(rates[g].item<double>());
  return found;
}

void set_rates(Optimizer& optimizer, const std::vector<double>& rates) {
  for (std::size_t g = 0; g < rates.size(); ++g) {
    optimizer.param_groups()[g].options().set_lr(rates[g]);
  }
}

State copy_of(State state) {
  for (auto& [name, tensor] : state) tensor = tensor.detach().clone();
  return state;
}

}  // namespace

std::vector<at::Tensor> memory_of(OptimizerParamState& state) {
  std::vector<at::Tensor> tensors;
  if (const auto found = find_memory(state)) {
    for (const auto& [name, tensor] : found->tensors) tensors.push_back(*tensor);
  }
  return tensors;
}

State state_of(const Optimizer& optimizer) {
  auto state = rates_of(optimizer);
  if (const auto* own = dynamic_cast<const WithMemory*>(&optimizer)) {
    add_below(state, kMemory, copy_of(own->memory()));
    return state;
  }
  const auto parameters = parameters_of(optimizer);
  std::vector<std::int64_t> steps(parameters.size(), -1);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto known = optimizer.state().find(parameters[i].unsafeGetTensorImpl());
    if (known == optimizer.state().end()) continue;
    const auto memory = find_memory(*known->second);
    TORCH_CHECK(memory, "what ", c10::demangle(typeid(optimizer).name()),
                " remembers cannot be saved: it is no optim::WithMemory");
    steps[i] = memory->steps == nullptr ? 0 : *memory->steps;
    for (const auto& [name, tensor] : memory->tensors) state[key(name, i)] = or_none(*tensor);
  }
  state[kSteps] = at::tensor(steps, at::kLong);
  return state;
}

void set_state(Optimizer& optimizer, const State& state) {
  const auto rates = read_rates(optimizer, state);
  if (auto* own = dynamic_cast<WithMemory*>(&optimizer)) {
    own->set_memory(entries_below(state, kMemory));
    return set_rates(optimizer, rates);
  }
  const auto parameters = parameters_of(optimizer);
  const auto steps = entry_like(
      state, kSteps, at::empty({static_cast<std::int64_t>(parameters.size())}, at::kLong));
  std::vector<std::unique_ptr<OptimizerParamState>> memories;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto done = steps[static_cast<std::int64_t>(i)].item<std::int64_t>();
    memories.push_back(done < 0 ? nullptr : read_memory(optimizer, state, i, parameters[i], done));
  }
  optimizer.state().clear();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!memories[i]) continue;
    optimizer.state()[parameters[i].unsafeGetTensorImpl()] = std::move(memories[i]);
  }
  set_rates(optimizer, rates);
}

}  // namespace pcxx::optim
