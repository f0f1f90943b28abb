#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/data/idx.h>
#include <pcxx/data/image_dataset.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

namespace pcxx::data {

namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 8> kImages{".png", ".jpg", ".jpeg", ".bmp",
                                                  ".gif", ".npy", ".npz",  ".pgm"};

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// Where the files of a data set lie in a data folder, ours and torchvision's.
std::vector<std::string> folders_of(std::string_view dataset) {
  return {std::string(dataset), dataset == "mnist" ? "MNIST/raw" : "FashionMNIST/raw"};
}

// A file as released (compressed) or unpacked, with a hyphen or a dot in its name.
std::vector<std::string> names_of(const std::string& stem, const std::string& kind) {
  return {stem + "-" + kind + ".gz", stem + "-" + kind, stem + "." + kind + ".gz",
          stem + "." + kind};
}

std::optional<fs::path> first_file(const fs::path& folder, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    std::error_code ignored;
    if (fs::exists(folder / name, ignored)) return folder / name;
  }
  return std::nullopt;
}

// Whether people may have meant it as a data set.
bool looks_like_data(const fs::path& file) {
  const auto name = file.filename().string();
  for (const std::string_view part : {"ubyte", "idx", "mnist", "MNIST"}) {
    if (name.find(part) != std::string::npos) return true;
  }
  const auto extension = file.extension();
  return std::any_of(kImages.begin(), kImages.end(),
                     [&](auto image) { return extension == image; });
}

// "; it holds a, b and 498 more such files": similar ones in a folder and those below it, where
// anything is alike.
std::string similar_files(const fs::path& folder) {
  constexpr int kDeepest = 3;
  constexpr int kMostEntries = 10'000;
  constexpr std::size_t kNamed = 3;
  std::vector<std::string> found;
  std::error_code error;
  int entries = 0;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (++entries > kMostEntries) break;
    if (entry.depth() >= kDeepest) entry.disable_recursion_pending();
    std::error_code ignored;
    if (entry->is_regular_file(ignored) && looks_like_data(entry->path())) {
      found.push_back(entry->path().lexically_relative(folder).string());
    }
  }
  if (found.empty()) return "";
  std::sort(found.begin(), found.end());
  const auto more = found.size() > kNamed ? found.size() - kNamed : 0;
  found.resize(found.size() - more);
  return fmt::format("; it holds '{}'{}", fmt::join(found, "', '"),
                     more > 0 ? fmt::format(" and {} more such files", more) : "");
}

// "'some' (--data)".
std::string text_of(const DataRoot& root) {
  return root.named_by.empty() ? fmt::format("'{}'", root.path.string())
                               : fmt::format("'{}' ({})", root.path.string(), root.named_by);
}

fs::path find_file(const fs::path& folder, const std::string& stem, const std::string& kind) {
  const auto names = names_of(stem, kind);
  if (const auto file = first_file(folder, names)) return *file;
  user_error("there is no '{}' in '{}'{}; data/get_data downloads it", fmt::join(names, "' or '"),
             folder.string(), similar_files(folder));
}

// Without the dimensions of size 1 behind the first that are more than `wanted`.
at::Tensor without_ones(at::Tensor values, std::int64_t wanted) {
  for (auto d = values.dim() - 1; d > 0 && values.dim() > wanted; --d) {
    if (values.size(d) == 1) values = values.squeeze(d);
  }
  return values;
}

// [count, rows, columns].
at::Tensor read_pictures(const fs::path& path) {
  const auto values = without_ones(read_idx(path), 3);
  if (values.dim() == 3) return values;
  if (values.dim() != 2) {
    user_error("'{}' does not hold grey images: it has {} dimensions instead of 3", path.string(),
               values.dim());
  }
  const auto pixels = values.size(1);
  const auto side = std::llround(std::sqrt(static_cast<double>(pixels)));
  return side * side == pixels ? values.view({-1, side, side}) : values.unsqueeze(1);
}

at::Tensor read_labels(const fs::path& path) {
  const auto labels = without_ones(read_idx(path), 1);
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

Images Images::last(std::int64_t count) const {
  const auto tail = [&](const at::Tensor& t) {
    return t.defined() ? t.narrow(0, size() - count, count) : t;
  };
  return {tail(pixels), tail(labels), rows, columns};
}

Images Images::without_last(std::int64_t count) const {
  return first(size() - count);
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

DataRoot data_root(const std::optional<fs::path>& given) {
  if (given && !given->empty()) return {*given, "--data"};
  const char* variable = std::getenv("PCXX_DATA_DIR");
  if (variable != nullptr && *variable != '\0') return {variable, "PCXX_DATA_DIR"};
  return {"data", ""};
}

std::optional<fs::path> find_data_folder(const std::optional<fs::path>& given,
                                         std::string_view dataset) {
  const auto root = data_root(given).path;
  std::optional<fs::path> found;
  for (const auto& name : folders_of(dataset)) {
    const auto folder = root / name;
    if (!is_folder(folder)) continue;
    if (first_file(folder, names_of("train-images", "idx3-ubyte"))) return folder;
    if (!found) found = folder;
  }
  return found;
}

void refuse_data_folder(const std::optional<fs::path>& given, std::string_view dataset) {
  const auto root = data_root(given);
  const auto there = text_of(root);
  std::error_code ignored;
  if (!fs::exists(root.path, ignored)) {
    user_error("there is no folder {}{}: 'data/get_data {}' downloads the data set", there,
               root.path.string().starts_with('~') ? ", whose ~ the shell has left as it is" : "",
               dataset);
  }
  if (!is_folder(root.path)) {
    user_error("{} is a file, not a folder of data sets: dataset = 'idx' reads single files",
               there);
  }
  if (first_file(root.path, names_of("train-images", "idx3-ubyte"))) {
    user_error(
        "{} holds the files of a data set itself: name the folder above it, in which '{}' is the "
        "folder that holds them",
        there, dataset);
  }
  user_error(
      "there is no folder '{}' in {}{}: 'data/get_data {}' downloads it, --data or PCXX_DATA_DIR "
      "names the folder that holds it, and dataset = 'idx' reads other IDX files",
      fmt::join(folders_of(dataset), "' or '"), there, similar_files(root.path), dataset);
}

Images load_images(std::string_view dataset, Split split,
                   const std::optional<fs::path>& data_folder) {
  if (dataset != "mnist" && dataset != "fashion-mnist") {
    user_error("there is no data set '{}': known are 'mnist' and 'fashion-mnist'", dataset);
  }
  const auto folder = find_data_folder(data_folder, dataset);
  if (!folder) refuse_data_folder(data_folder, dataset);
  const std::string prefix = split == Split::kTrain ? "train" : "t10k";
  const auto images = find_file(*folder, prefix + "-images", "idx3-ubyte");
  const auto labels = find_file(*folder, prefix + "-labels", "idx1-ubyte");
  return load_images(images, labels);
}

Images load_images(const fs::path& images, const std::optional<fs::path>& labels) {
  const auto bytes = read_pictures(images);
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
