#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

namespace pcxx::data {

/// Reads an IDX file of unsigned bytes, the format of MNIST: a big-endian magic number 0x0000080d
/// with d dimensions, d big-endian 32-bit sizes, then the bytes, last dimension fastest. The file
/// may be gzip-compressed; its content tells, not its name. As for gzip, there may be several
/// members (bgzip, or files that were put together), and zeros behind the last.
///
///   auto images = read_idx("train-images-idx3-ubyte.gz");  // uint8 [60000, 28, 28], magic 2051
///   auto labels = read_idx("train-labels-idx1-ubyte");     // uint8 [60000], magic 2049
///
/// Throws UserError, one sentence with the path, when the file cannot be read, is no IDX file of
/// unsigned bytes, has an empty dimension, is shorter or longer than its header says, or is a
/// corrupt gzip file; a PNG, JPEG or NumPy file is named as such. Nothing is allocated on the word
/// of a header that the file's length contradicts.
at::Tensor read_idx(const std::filesystem::path& path);

/// The same from the bytes of a file; `path` stands for it in messages.
at::Tensor idx_of_bytes(std::string bytes, const std::filesystem::path& path);

}  // namespace pcxx::data
