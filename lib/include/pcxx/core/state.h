#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace pcxx {

/// What an object remembers between steps, as named tensors: plain data, of which checkpoints
/// consist.
using State = std::map<std::string, at::Tensor>;

/// The entry of that name. Throws c10::Error when there is none.
const at::Tensor& entry(const State& state, const std::string& name);

/// The entry of that name, which must have the sizes and the dtype of `like`, on its device. Throws
/// c10::Error otherwise.
at::Tensor entry_like(const State& state, const std::string& name, const at::Tensor& like);

/// An entry that is one whole number, from 0 on. Throws c10::Error otherwise.
std::int64_t count_of(const State& state, const std::string& name);
at::Tensor as_count(std::int64_t count);

/// The entries that are called prefix + name, by name; and back.
State entries_below(const State& state, std::string_view prefix);
void add_below(State& state, std::string_view prefix, const State& entries);

/// A text's bytes as a tensor, and back. Throws c10::Error for another tensor.
at::Tensor as_bytes(std::string_view text);
std::string text_of_bytes(const at::Tensor& bytes);

}  // namespace pcxx
