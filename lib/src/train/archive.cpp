#include "train/archive.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <torch/serialize/archive.h>
#include <zlib.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace pcxx::train {

namespace {

constexpr const char* kNames = "names";
constexpr const char* kChecksum = "crc32";

std::string key(std::size_t i) {
  return fmt::format("tensor{}", i);
}

}  // namespace

std::int64_t checksum(const std::vector<at::Tensor>& tensors) {
  auto sum = ::crc32_z(0, nullptr, 0);
  for (const auto& tensor : tensors) {
    const auto bytes = tensor.cpu().contiguous();
    sum = ::crc32_z(sum, static_cast<const Bytef*>(bytes.const_data_ptr()), bytes.nbytes());
  }
  return static_cast<std::int64_t>(sum);
}

at::Tensor as_bytes(const std::string& text) {
  const auto bytes = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<std::uint8_t>());
  return bytes;
}

std::string text_of_bytes(const at::Tensor& bytes) {
  const auto* first = bytes.const_data_ptr<std::uint8_t>();
  return {first, first + bytes.numel()};
}

void write_tensors(const std::filesystem::path& path,
                   const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  torch::serialize::OutputArchive archive;
  auto names = nlohmann::json::array();
  std::vector<at::Tensor> values;
  for (const auto& [name, tensor] : tensors) {
    archive.write(key(names.size()), tensor);
    names.push_back(name);
    values.push_back(tensor);
  }
  archive.write(kNames, c10::IValue(names.dump()));
  archive.write(kChecksum, c10::IValue(checksum(values)));
  AtomicFile file(path);
  archive.save_to(file.stream());
  file.commit();
}

std::vector<std::pair<std::string, at::Tensor>> tensors_of_bytes(
    const std::string& bytes, const std::filesystem::path& path) {
  std::vector<std::pair<std::string, at::Tensor>> result;
  std::vector<at::Tensor> values;
  c10::IValue sum;
  try {
    torch::serialize::InputArchive archive;
    archive.load_from(bytes.data(), bytes.size(), at::Device(at::kCPU));
    c10::IValue names;
    archive.read(kNames, names);
    for (const auto& name : nlohmann::json::parse(names.toStringRef())) {
      at::Tensor tensor;
      archive.read(key(values.size()), tensor);
      values.push_back(tensor);
      result.emplace_back(name.get<std::string>(), tensor);
    }
    archive.read(kChecksum, sum);
  } catch (const std::exception&) {
    user_error("'{}' is damaged; remove it to have it made again", path.string());
  }
  if (!sum.isInt() || sum.toInt() != checksum(values)) {
    user_error("'{}' is damaged: its checksum is wrong; remove it to have it made again",
               path.string());
  }
  return result;
}

std::vector<std::pair<std::string, at::Tensor>> read_tensors(const std::filesystem::path& path) {
  return tensors_of_bytes(read_file(path), path);
}

}  // namespace pcxx::train
