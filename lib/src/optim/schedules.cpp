#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "optim/parts.h"

namespace pcxx::optim {
namespace {

struct Warmup {
  std::int64_t steps = 0;
};

struct Fall {
  std::int64_t warmup = 0;
  double to = 0;
};

struct Decay {
  std::int64_t warmup = 0;
  std::int64_t every = 1000;
  double factor = 0.1;
};

config::Key warmup_key() {
  return {.name = "warmup_steps",
          .doc = "first steps, in which learning_rate rises from zero in equal parts",
          .minimum = 0,
          .maximum = 1e9};
}

// In equal parts up to 1 at the last of the first `warmup` steps.
double rise(std::int64_t step, std::int64_t warmup) {
  if (step >= warmup) return 1;
  return static_cast<double>(step + 1) / static_cast<double>(warmup);
}

// How much of the way behind the warm-up is done before this step, 0 to 1.
double progress(std::int64_t step, std::int64_t steps, std::int64_t warmup) {
  if (step < warmup) return 0;
  return static_cast<double>(step - warmup) /
         static_cast<double>(std::max<std::int64_t>(1, steps - warmup));
}

// From 1 to `to` along a curve that falls from 1 to 0.
template <typename Curve>
SchedulePart fall(std::string name, std::string doc, Curve curve) {
  const auto keys = config::OptionKeys<Fall>()
                        .add(&Fall::warmup, warmup_key())
                        .add(&Fall::to, {.name = "final_fraction",
                                         .doc = "the fraction of learning_rate that a cosine or "
                                                "linear schedule falls to",
                                         .minimum = 0,
                                         .maximum = 1});
  SchedulePart part;
  part.name = std::move(name);
  part.doc = std::move(doc);
  part.options = keys.keys();
  part.make = [keys, curve](const config::Config& config) -> Schedule {
    const auto [warmup, to] = keys.read(config);
    return [warmup, to, curve](std::int64_t step, std::int64_t steps) {
      return rise(step, warmup) * (to + (1 - to) * curve(progress(step, steps, warmup)));
    };
  };
  return part;
}

}  // namespace

SchedulePart constant_part() {
  const auto keys = config::OptionKeys<Warmup>().add(&Warmup::steps, warmup_key());
  SchedulePart part;
  part.name = "constant";
  part.doc = "as it is";
  part.options = keys.keys();
  part.make = [keys](const config::Config& config) -> Schedule {
    const auto warmup = keys.read(config).steps;
    if (warmup == 0) return {};
    return [warmup](std::int64_t step, std::int64_t) { return rise(step, warmup); };
  };
  return part;
}

SchedulePart cosine_part() {
  return fall("cosine", "falls along half a period of a cosine",
              [](double done) { return (1 + std::cos(std::numbers::pi * done)) / 2; });
}

SchedulePart linear_part() {
  return fall("linear", "falls along a straight line", [](double done) { return 1 - done; });
}

SchedulePart decay_part() {
  const auto keys =
      config::OptionKeys<Decay>()
          .add(&Decay::warmup, warmup_key())
          .add(&Decay::every, {.name = "decay_every",
                               .doc = "steps between two falls of a decay schedule",
                               .minimum = 1,
                               .maximum = 1e9})
          .add(&Decay::factor, {.name = "decay_factor",
                                .doc = "what a decay schedule multiplies learning_rate by at each",
                                .minimum = 0,
                                .maximum = 1,
                                .open_minimum = true});
  SchedulePart part;
  part.name = "decay";
  part.doc = "times decay_factor after every decay_every steps";
  part.options = keys.keys();
  part.make = [keys](const config::Config& config) -> Schedule {
    const auto [warmup, every, factor] = keys.read(config);
    return [warmup, every, factor](std::int64_t step, std::int64_t) {
      return rise(step, warmup) * std::pow(factor, static_cast<double>(step / every));
    };
  };
  return part;
}

}  // namespace pcxx::optim
