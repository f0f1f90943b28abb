#include <ATen/ATen.h>
#include <pcxx/core/state.h>

#include <algorithm>

namespace pcxx {

const at::Tensor& entry(const State& state, const std::string& name) {
  const auto found = state.find(name);
  TORCH_CHECK(found != state.end(), "the state has no '", name, "'");
  return found->second;
}

at::Tensor entry_like(const State& state, const std::string& name, const at::Tensor& like) {
  const auto& found = entry(state, name);
  TORCH_CHECK(found.sizes() == like.sizes() && found.scalar_type() == like.scalar_type(), "'", name,
              "' of the state is ", found.sizes(), " ", found.dtype(), ", not ", like.sizes(), " ",
              like.dtype());
  return found.to(like.device(), like.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

std::int64_t count_of(const State& state, const std::string& name) {
  const auto& found = entry(state, name);
  TORCH_CHECK(found.scalar_type() == at::kLong && found.numel() == 1, "'", name,
              "' of the state is ", found.sizes(), " ", found.dtype(), ", not one whole number");
  const auto count = found.item<std::int64_t>();
  TORCH_CHECK(count >= 0, "'", name, "' of the state is ", count);
  return count;
}

at::Tensor as_count(std::int64_t count) {
  return at::scalar_tensor(count, at::kLong);
}

State entries_below(const State& state, std::string_view prefix) {
  State found;
  for (const auto& [name, tensor] : state) {
    if (name.starts_with(prefix)) found[name.substr(prefix.size())] = tensor;
  }
  return found;
}

void add_below(State& state, std::string_view prefix, const State& entries) {
  for (const auto& [name, tensor] : entries) state[std::string(prefix) + name] = tensor;
}

at::Tensor as_bytes(std::string_view text) {
  const auto bytes = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<std::uint8_t>());
  return bytes;
}

std::string text_of_bytes(const at::Tensor& bytes) {
  const auto here = bytes.cpu().contiguous();
  const auto* first = here.const_data_ptr<std::uint8_t>();
  return {first, first + here.numel()};
}

}  // namespace pcxx
