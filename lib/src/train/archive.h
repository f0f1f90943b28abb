#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace pcxx::train {

/// CRC-32 of the numbers of all tensors; LibTorch's reader does not notice a flipped bit.
std::int64_t checksum(const std::vector<at::Tensor>& tensors);

/// A text's bytes as a tensor, and back.
at::Tensor as_bytes(const std::string& text);
std::string text_of_bytes(const at::Tensor& bytes);

/// Named tensors as one file, whole or not at all, with a checksum; names may hold any characters.
void write_tensors(const std::filesystem::path& path,
                   const std::vector<std::pair<std::string, at::Tensor>>& tensors);

/// From the bytes of such a file, which messages call `path`. Throws UserError when it is damaged.
std::vector<std::pair<std::string, at::Tensor>> tensors_of_bytes(const std::string& bytes,
                                                                 const std::filesystem::path& path);

/// What `write_tensors` wrote. Throws UserError with the path when it is damaged.
std::vector<std::pair<std::string, at::Tensor>> read_tensors(const std::filesystem::path& path);

}  // namespace pcxx::train
