#include "training.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/core/error.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/train/training.h>
#include <pcxx/train/training_state.h>

#include <chrono>
#include <limits>
#include <optional>

#include "tensor.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

constexpr std::chrono::milliseconds kBetweenSignals(20);

bool flushes_denormals() {
  const volatile double smallest = std::numeric_limits<double>::min();
  return smallest / 2 == 0;
}

// Which samples come next.
class Order {
 public:
  Order(std::int64_t samples, const Pace& pace) : samples_(samples), batch_size_(pace.batch_size) {
    if (pace.shuffle) minibatches_.emplace(samples, pace.seed);
  }

  at::Tensor next() {
    if (minibatches_) return minibatches_->next(batch_size_);
    const auto first = std::exchange(next_, (next_ + batch_size_) % samples_);
    return at::arange(first, first + batch_size_, at::kLong).remainder_(samples_);
  }

 private:
  std::int64_t samples_;
  std::int64_t batch_size_;
  std::optional<data::Minibatches> minibatches_;
  std::int64_t next_ = 0;
};

// What Python has to say between steps.
class Interruptions {
 public:
  // Throws what a signal's handler raises, such as KeyboardInterrupt.
  void check_signals() {
    const auto now = std::chrono::steady_clock::now();
    if (now - checked_ < kBetweenSignals) return;
    checked_ = now;
    const nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }

 private:
  std::chrono::steady_clock::time_point checked_ = std::chrono::steady_clock::now();
};

// Means of the numbers from step `first` on.
std::map<std::string, double> means(const History& history, std::size_t first) {
  std::map<std::string, double> result;
  for (const auto& [name, values] : history) {
    double sum = 0;
    for (auto i = first; i < values.size(); ++i) sum += values[i];
    result[name] = sum / static_cast<double>(values.size() - first);
  }
  return result;
}

// Tells the callback of every epoch that ends.
class Epochs {
 public:
  Epochs(std::int64_t samples, std::int64_t batch_size)
      : samples_(samples), batch_size_(batch_size) {}

  // Whether the training goes on after step s.
  bool tell(std::int64_t s, const History& history, const nb::object& callback) {
    if (callback.is_none() || (s + 1) * batch_size_ < (epoch_ + 1) * samples_) return true;
    const auto found = means(history, std::exchange(first_, static_cast<std::size_t>(s) + 1));
    const auto epoch = std::exchange(epoch_, (s + 1) * batch_size_ / samples_);
    const nb::gil_scoped_acquire acquire;
    const at::AutoGradMode with_gradients(true);
    return !callback(epoch, found).is(nb::bool_(false));
  }

 private:
  std::int64_t samples_;
  std::int64_t batch_size_;
  std::int64_t epoch_ = 0;
  std::size_t first_ = 0;
};

State state_of(const Trainer& self) {
  auto* rule = &self.rule().of(self.network(), self.optimizer().words);
  auto state = train::training_state(self.network().module, *rule, self.optimizer().made);
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  return state;
}

void restore(Trainer& self, const State& state) {
  auto network = self.network().module;
  train::restore(state, network, self.rule().of(self.network()), self.optimizer().made);
}

std::map<std::string, double> train_step(Trainer& self, nb::handle x, nb::handle y) {
  const auto batch = samples_of(x, y, *self.network()).batch(*self.network());
  return means(self.step(batch), 0);
}

Pace pace_of(std::int64_t samples, std::int64_t epochs, std::optional<std::int64_t> steps,
             std::int64_t batch_size, std::uint64_t seed, bool shuffle) {
  if (batch_size < 1) user_error("batch_size = {} is not at least 1", batch_size);
  if (epochs < 0) user_error("epochs = {} is not at least 0", epochs);
  if (steps && *steps < 0) user_error("steps = {} is not at least 0", *steps);
  const auto all = (epochs * samples + batch_size - 1) / batch_size;
  return {.steps = steps.value_or(all), .batch_size = batch_size, .seed = seed, .shuffle = shuffle};
}

nb::dict fit(Trainer& self, nb::handle x, nb::handle y, std::int64_t epochs,
             std::int64_t batch_size, std::optional<std::int64_t> steps, std::uint64_t seed,
             bool shuffle, const nb::object& callback) {
  const auto samples = samples_of(x, y, *self.network());
  const auto pace = pace_of(samples.size(), epochs, steps, batch_size, seed, shuffle);
  nb::dict result;
  for (const auto& [name, values] : self.fit(samples, pace, callback)) {
    result[nb::str(name.c_str())] = at::tensor(values, at::kDouble);
  }
  return result;
}

}  // namespace

// One training at a time, without gradients. Numbers so small that a processor is slow with them are
// 0 while it lasts, as in the programs.
class Trainer::Turn {
 public:
  explicit Turn(Trainer& trainer) : trainer_(trainer) {
    if (trainer.busy_.exchange(true)) user_error("this trainer is at work already");
    at::Context::setFlushDenormal(true);
  }
  ~Turn() {
    at::Context::setFlushDenormal(flushed_before_);
    trainer_.busy_ = false;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Trainer& trainer_;
  at::NoGradGuard no_grad_;
  bool flushed_before_ = flushes_denormals();
};

Trainer::Trainer(nb::object network, nb::object rule, nb::object optimizer)
    : network_object(std::move(network)),
      rule_object(std::move(rule)),
      optimizer_object(std::move(optimizer)),
      network_(nb::cast<Net*>(network_object)),
      rule_(nb::cast<Rule*>(rule_object)),
      optimizer_(nb::cast<Optimizer*>(optimizer_object)) {
  if (nb::cast<const Net&>(optimizer_->network).module.get() != network_->module.get()) {
    user_error("the optimizer is of another network");
  }
  const auto words = joined(joined(network_->words, optimizer_->words), rule_->words());
  const auto config = model_of(words, "Trainer");
  ends_unstable_ = catalog::Model(config).ends_unstable;
  if (!rule_->words().empty()) catalog::make_rule(config);
  const auto rate = word_of(optimizer_->words, "learning_rate", "");
  if (!rate.empty() && config.real("learning_rate") != std::stod(rate)) {
    user_error("rule = '{}' takes its steps as they are: learning_rate = {}, not {}",
               config.text("rule"), config.real("learning_rate"), rate);
  }
  made_ = &rule_->of(*network_, optimizer_->words);
}

bool Trainer::ends(const learning::Step& step) const {
  return ends_unstable_ && step.report && step.report->any_unstable();
}

// The last step of the batch.
learning::Step Trainer::learn(const data::Batch& batch) {
  learning::Step step;
  for (std::int64_t i = 0; i < made_->steps_per_batch(); ++i) {
    step = made_->factors(**network_, batch);
    if (ends(step)) break;
    optimizer_->made.step(step);
  }
  return step;
}

bool Trainer::advance(const data::Batch& batch, History& history) {
  const auto step = learn(batch);
  const auto add = [&](const char* name, const at::Tensor& value) {
    history[name].push_back(value.item<double>());
  };
  add(train::kTrainError, (*network_)->loss().errors(step.prediction, batch.target).mean());
  if (!step.report) return true;
  add(train::kPasses, step.report->steps.amax());
  add(train::kConverged, step.report->converged.to(at::kDouble).mean());
  return !ends(step);
}

History Trainer::step(const data::Batch& batch) {
  const Turn turn(*this);
  const nb::gil_scoped_release release;
  History history;
  advance(batch, history);
  return history;
}

History Trainer::fit(const Samples& samples, const Pace& pace, const nb::object& callback) {
  const Turn turn(*this);
  const nb::gil_scoped_release release;
  Order order(samples.size(), pace);
  Interruptions interruptions;
  History history;
  Epochs epochs(samples.size(), pace.batch_size);
  for (std::int64_t s = 0; s < pace.steps; ++s) {
    const bool goes_on = advance(samples.batch(**network_, order.next()), history);
    if (!goes_on) history[train::kUnstableAt] = {static_cast<double>(s)};
    if (!goes_on || !epochs.tell(s, history, callback)) break;
    interruptions.check_signals();
  }
  return history;
}

void bind_training(nb::module_& m) {
  nb::class_<Trainer>(m, "Trainer", "Base of pcxx.Trainer.")
      .def(nb::init<nb::object, nb::object, nb::object>(), nb::arg("net"), nb::arg("rule"),
           nb::arg("optimizer"),
           nb::sig("def __init__(self, net: Network, rule: Rule, optimizer: Optimizer) -> None"),
           "Throws UserError where they do not go together.")
      .def("step", &train_step, nb::arg("x"), nb::arg("y"),
           nb::sig("def step(self, x: ArrayLike, y: ArrayLike) -> dict[str, float]"),
           "One update by a batch: x [B, n_0], y [B, n_L] or labels int64 [B]. Gives the batch's "
           "numbers, as `fit` does of each.")
      .def("fit", &fit, nb::arg("x"), nb::arg("y"), nb::arg("epochs") = 1,
           nb::arg("batch_size") = 64, nb::arg("steps").none() = nb::none(), nb::arg("seed") = 0,
           nb::arg("shuffle") = true, nb::arg("callback").none() = nb::none(),
           nb::sig("def fit(self, x: ArrayLike, y: ArrayLike, epochs: int = 1, "
                   "batch_size: int = 64, steps: int | None = None, seed: int = 0, "
                   "shuffle: bool = True, callback: Callable[[int, dict[str, float]], "
                   "bool | None] | None = None) -> dict[str, torch.Tensor]"),
           "Trains on x [N, n_0] and y [N, n_L] or labels int64 [N], so many epochs or steps. x "
           "may be uint8 images, which become numbers in [0, 1]; nothing is copied but the batch "
           "at hand. Batches follow each other without a gap, as in the programs: one that "
           "reaches the end of an epoch is filled up from the next, and the order of each epoch "
           "is a function of seed and epoch alone.\n\n"
           "The whole loop runs in C++ without the interpreter's lock. After each epoch "
           "callback(epoch, numbers) gets the epoch's means, and ends the training where it "
           "returns False. Ctrl-C, and what the callback raises, end it between two steps.\n\n"
           "Gives numbers of every step, float64 [steps]: train_error, the batch's error before "
           "its update (the mean of what the loss reports), and for rules that infer "
           "inference_passes, until the slowest sample stopped, and inference_converged, the part "
           "of the samples. A training whose fixed inference step has become unstable ends there, "
           "with inference_unstable_at [1].")
      .def("state_dict", &state_of,
           "All that it must remember to go on bit by bit, by name, as copies: weights, memory of "
           "the rule, state of the optimizer, memory of the rescaling.")
      .def("load_state_dict", &restore, nb::arg("state"),
           "Goes back to such a state. Throws RuntimeError where it is of another training.")
      .def_ro("net", &Trainer::network_object, nb::sig("def net(self) -> Network"))
      .def_ro("rule", &Trainer::rule_object, nb::sig("def rule(self) -> Rule"))
      .def_ro("optimizer", &Trainer::optimizer_object, nb::sig("def optimizer(self) -> Optimizer"));
}

}  // namespace pcxx::python
