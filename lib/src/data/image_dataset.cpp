#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/data/idx.h>
#include <pcxx/data/image_dataset.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <system_error>

namespace pcxx::data {

namespace fs = std::filesystem;

namespace {

fs::path data_root(const std::optional<fs::path>& given) {
  if (given) return *given;
  const char* variable = std::getenv("PCXX_DATA_DIR");
  return variable != nullptr && *variable != '\0' ? fs::path(variable) : fs::path("data");
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// The file as released (compressed) or unpacked.
fs::path find_file(const fs::path& folder, const std::string& stem) {
  for (const auto& name : {stem + ".gz", stem}) {
    std::error_code ignored;
    if (fs::exists(folder / name, ignored)) return folder / name;
  }
  user_error("there is no '{}.gz' (or '{}') in '{}'; data/get_data downloads it", stem, stem,
             folder.string());
}

at::Tensor read_labels(const fs::path& path) {
  const auto labels = read_idx(path);
  if (labels.dim() != 1) {
    user_error("'{}' does not hold labels: it has {} dimensions instead of 1", path.string(),
               labels.dim());
  }
  return labels.to(at::kLong);
}

at::Tensor to_values(const at::Tensor& pixels, const at::TensorOptions& options) {
  auto values = pixels.to(options);
  // A copy of the pixels, since the type differs.
  if (pixels.scalar_type() == at::kByte) values.div_(255);
  return values;
}

}  // namespace

Images Images::first(std::int64_t count) const {
  TORCH_CHECK(count >= 0, "Images: count must not be negative, but is ", count);
  auto part = *this;
  part.pixels = pixels.slice(0, 0, std::min(count, size()));
  if (labels.defined()) part.labels = labels.slice(0, 0, std::min(count, size()));
  return part;
}

Images Images::to(at::Device device) const {
  auto moved = *this;
  moved.pixels = pixels.to(device);
  if (labels.defined()) moved.labels = labels.to(device);
  return moved;
}

at::Tensor Images::values(at::TensorOptions options) const {
  return to_values(pixels, options);
}

at::Tensor Images::values(const at::Tensor& index, at::TensorOptions options) const {
  return to_values(pixels.index_select(0, index.to(pixels.device())), options);
}

std::optional<fs::path> find_data_folder(const std::optional<fs::path>& given,
                                         std::string_view dataset) {
  auto folder = data_root(given) / dataset;
  if (!is_folder(folder)) return std::nullopt;
  return folder;
}

Images load_images(std::string_view dataset, Split split,
                   const std::optional<fs::path>& data_folder) {
  if (dataset != "mnist" && dataset != "fashion-mnist") {
    user_error("there is no data set '{}': known are 'mnist' and 'fashion-mnist'", dataset);
  }
  const auto folder = find_data_folder(data_folder, dataset);
  if (!folder) {
    user_error(
        "there is no folder '{}' in '{}': 'data/get_data {}' downloads it, and --data or "
        "PCXX_DATA_DIR names the folder that holds it",
        dataset, data_root(data_folder).string(), dataset);
  }
  const std::string prefix = split == Split::kTrain ? "train" : "t10k";
  const auto images = find_file(*folder, prefix + "-images-idx3-ubyte");
  const auto labels = find_file(*folder, prefix + "-labels-idx1-ubyte");
  return load_images(images, labels);
}

Images load_images(const fs::path& images, const std::optional<fs::path>& labels) {
  const auto bytes = read_idx(images);
  if (bytes.dim() != 3) {
    user_error("'{}' does not hold images: it has {} dimensions instead of 3", images.string(),
               bytes.dim());
  }
  Images result{
      .pixels = bytes.flatten(1), .labels = {}, .rows = bytes.size(1), .columns = bytes.size(2)};
  if (labels) {
    result.labels = read_labels(*labels);
    if (result.labels.size(0) != result.size()) {
      user_error("'{}' holds {} labels, but '{}' holds {} images", labels->string(),
                 result.labels.size(0), images.string(), result.size());
    }
  }
  return result;
}

Batch autoencoding_batch(const Images& images, const at::Tensor& index, at::TensorOptions options) {
  const auto values = images.values(index, options);
  return {values, values};
}

Batch classification_batch(const Images& images, const at::Tensor& index, std::int64_t classes,
                           at::TensorOptions options) {
  TORCH_CHECK(images.labels.defined(), "classification_batch: the images have no labels");
  const auto labels = images.labels.index_select(0, index.to(images.labels.device()));
  return {images.values(index, options), at::one_hot(labels, classes).to(options)};
}

}  // namespace pcxx::data
