#include <ATen/ATen.h>
#include <ATen/core/PhiloxRNGEngine.h>
#include <pcxx/core/random.h>
#include <pcxx/data/minibatches.h>

#include <algorithm>
#include <vector>

namespace pcxx::data {

Minibatches::Minibatches(std::int64_t samples, std::uint64_t seed)
    : samples_(samples), seed_(seed) {
  TORCH_CHECK(samples > 0, "Minibatches: there must be samples, not ", samples);
  shuffle();
}

at::Tensor Minibatches::next(std::int64_t batch_size) {
  TORCH_CHECK(batch_size > 0, "Minibatches: batch size must be positive, not ", batch_size);
  std::vector<at::Tensor> parts;
  while (batch_size > 0) {
    const auto taken = std::min(batch_size, samples_ - position_.sample);
    parts.push_back(order_.slice(0, position_.sample, position_.sample + taken));
    batch_size -= taken;
    position_.sample += taken;
    if (position_.sample == samples_) {
      position_ = {.epoch = position_.epoch + 1, .sample = 0};
      shuffle();
    }
  }
  return at::cat(parts);
}

void Minibatches::resume(const Position& position) {
  TORCH_CHECK(position.epoch >= 0 && position.sample >= 0 && position.sample < samples_,
              "Minibatches: no position ", position.epoch, ":", position.sample, " among ",
              samples_, " samples");
  position_ = position;
  shuffle();
}

void Minibatches::shuffle() {
  // A counter-based engine gives every epoch a seed without drawing those before it.
  at::philox_engine engine(seed_, static_cast<std::uint64_t>(position_.epoch));
  const auto high = std::uint64_t{engine()} << 32;
  const auto generator = make_generator(high | engine(), Purpose::kShuffle);
  order_ = at::randperm(samples_, generator, at::kLong);
}

}  // namespace pcxx::data
