#include "io/archive.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <zlib.h>

#include <algorithm>
#include <sstream>

namespace pcxx::io {

namespace {

constexpr const char* kChecksum = "crc32";
constexpr std::string_view kZip("PK\x03\x04", 4);

std::uint32_t add_bytes(std::uint32_t sum, const void* bytes, std::size_t size) {
  return static_cast<std::uint32_t>(::crc32_z(sum, static_cast<const Bytef*>(bytes), size));
}

std::uint32_t add_tensor(std::uint32_t sum, const at::Tensor& tensor) {
  const auto bytes = tensor.cpu().contiguous();
  return add_bytes(sum, bytes.const_data_ptr(), bytes.nbytes());
}

// By name: that is how they are read.
std::uint32_t checksum_of_named(NamedTensors tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::uint32_t sum = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto head = fmt::format("{} {} [{}]", name, c10::toString(tensor.scalar_type()),
                                  fmt::join(tensor.sizes(), ","));
    sum = add_bytes(sum, head.data(), head.size());
    sum = add_tensor(sum, tensor);
  }
  return sum;
}

}  // namespace

std::uint32_t checksum(std::string_view bytes) {
  return add_bytes(0, bytes.data(), bytes.size());
}

std::uint32_t checksum(const std::vector<at::Tensor>& tensors) {
  std::uint32_t sum = 0;
  for (const auto& tensor : tensors) sum = add_tensor(sum, tensor);
  return sum;
}

std::string checksum_text(std::uint32_t checksum) {
  return fmt::format("{:08x}", checksum);
}

// The header of safetensors opens with a brace after its length, which may look like a zip file's
// first bytes.
void refuse_torch_archive(std::string_view bytes, const std::filesystem::path& path) {
  if (!bytes.starts_with(kZip) || (bytes.size() > 8 && bytes[8] == '{')) return;
  user_error(
      "'{}' is an archive of PyTorch, which can run code while it is read: python/pcxx_weights.py "
      "with --convert (or pcxx_weights.save in Python) makes safetensors of its weights",
      path.string());
}

std::string bytes_of_tensors(const NamedTensors& tensors) {
  std::ostringstream bytes;
  write_safetensors(bytes, tensors, {{kChecksum, checksum_text(checksum_of_named(tensors))}});
  return std::move(bytes).str();
}

void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors) {
  write_file(path, bytes_of_tensors(tensors));
}

NamedTensors tensors_of_bytes(std::string_view bytes, const std::filesystem::path& path) {
  refuse_torch_archive(bytes, path);
  Safetensors file;
  try {
    file = read_safetensors(bytes, path.string());
  } catch (const UserError&) {
    user_error("'{}' is damaged; remove it to have it made again", path.string());
  }
  const auto sum = file.metadata.find(kChecksum);
  if (sum == file.metadata.end() || sum->second != checksum_text(checksum_of_named(file.tensors))) {
    user_error("'{}' is damaged: its checksum is wrong; remove it to have it made again",
               path.string());
  }
  return file.tensors;
}

NamedTensors read_tensors(const std::filesystem::path& path) {
  return tensors_of_bytes(read_file(path), path);
}

}  // namespace pcxx::io
