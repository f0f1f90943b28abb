// dataset = "gratings": images of 12 x 12 real numbers, waves of one of eight orientations, which
// is the label, with a random phase and noise.

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>
#include <pcxx/core/random.h>

#include <cmath>

#include "lab.h"

namespace {

using namespace pcxx;

constexpr std::int64_t kSide = 12;
constexpr std::int64_t kClasses = 8;
constexpr double kWaves = 2;
constexpr auto kGratings = static_cast<Purpose>(1000);

data::Images draw(std::int64_t count, std::uint64_t seed, double noise) {
  auto generator = make_generator(seed, kGratings);
  const auto labels = at::randint(kClasses, {count}, generator, at::kLong);
  const auto phase = at::rand({count, 1, 1}, generator, at::kDouble) * 2 * M_PI;
  const auto angle = (labels.to(at::kDouble) * (M_PI / kClasses)).view({count, 1, 1});
  const auto axis = at::linspace(-0.5, 0.5, kSide, at::kDouble);
  const auto along =
      axis.view({1, kSide, 1}) * angle.sin() + axis.view({1, 1, kSide}) * angle.cos();
  auto pixels = 0.5 + 0.5 * at::sin(2 * M_PI * kWaves * along + phase);
  pixels = pixels + noise * at::randn({count, kSide, kSide}, generator, at::kDouble);
  return {.pixels = pixels.flatten(1).to(at::kFloat),
          .labels = labels,
          .rows = kSide,
          .columns = kSide};
}

}  // namespace

void add_gratings() {
  catalog::add_dataset(
      {.name = "gratings",
       .doc = "waves of eight orientations, 12 x 12",
       .keys = {{.name = "grating_noise",
                 .kind = config::Kind::kReal,
                 .initial = "0.1",
                 .doc = "standard deviation of the noise on the pixels of gratings",
                 .minimum = 0}}},
      [](const config::Config& config) {
        constexpr std::int64_t kTrain = 8000;
        constexpr std::int64_t kTest = 2000;
        const double noise = config.real("grating_noise");
        return data::ImageSets{draw(kTrain, 0, noise), draw(kTest, 1, noise)};
      });
}
