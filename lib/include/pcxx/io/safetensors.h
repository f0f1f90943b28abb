#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The format safetensors: the length of a header as a little-endian 64-bit number, the header in
/// JSON, {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {texts}}, padded with
/// spaces to a multiple of 8, then the numbers of all tensors, little-endian, without gaps.
namespace pcxx::io {

/// In the order in which they are written.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// The tensors one after the other in their order.
void write_safetensors(std::ostream& stream, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata);

/// A file: its tensors, and what it says of them.
struct Safetensors {
  NamedTensors tensors;  ///< in the order of their numbers
  std::map<std::string, std::string> metadata;
};

/// Throws UserError, one sentence with `path`, unless `bytes` are such a file, whole and in
/// order. Nothing is allocated on the word of a header that the file's length contradicts.
Safetensors read_safetensors(std::string_view bytes, const std::string& path);

}  // namespace pcxx::io
