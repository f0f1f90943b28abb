#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/io/safetensors.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace pcxx::io {

/// CRC-32 of bytes, and of the numbers of all tensors.
std::uint32_t checksum(std::string_view bytes);
std::uint32_t checksum(const std::vector<at::Tensor>& tensors);

/// Eight hexadecimal digits.
std::string checksum_text(std::uint32_t checksum);

/// Throws UserError, which names the converter, for an archive of LibTorch: its reader runs code
/// that the file holds.
void refuse_torch_archive(std::string_view bytes, const std::filesystem::path& path);

/// Named tensors as one file, whole or not at all: safetensors, with a checksum of names, dtypes,
/// shapes and numbers.
void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors);

/// The bytes of such a file.
std::string bytes_of_tensors(const NamedTensors& tensors);

/// From such bytes, which messages call `path`. Throws UserError when it is damaged.
NamedTensors tensors_of_bytes(std::string_view bytes, const std::filesystem::path& path);

/// What `write_tensors` wrote. Throws UserError with the path when it is damaged.
NamedTensors read_tensors(const std::filesystem::path& path);

}  // namespace pcxx::io
