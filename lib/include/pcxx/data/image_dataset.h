#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>
#include <pcxx/data/batch.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace pcxx::data {

/// N grey images. Pixels are bytes, an eighth or a quarter of the memory of real numbers, which
/// become values in [0, 1] when a batch is gathered, or real numbers, which stay as they are.
///
///   pixels  uint8 or floating [N, rows * columns], row by row
///   labels  int64 [N]; undefined without labels
struct Images {
  at::Tensor pixels;
  at::Tensor labels;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  std::int64_t size() const { return pixels.size(0); }
  std::int64_t features() const { return pixels.size(1); }

  /// The first `count` images, or all when there are no more; shares memory.
  Images first(std::int64_t count) const;
  /// The last `count` images, and those before them; share memory. 0 < count < size().
  Images last(std::int64_t count) const;
  Images without_last(std::int64_t count) const;
  /// Pixels and labels on another device.
  Images to(at::Device device) const;

  /// Values of all images, bytes / 255, [N, rows * columns].
  at::Tensor values(at::TensorOptions options) const;
  /// Values of the images at `index` (int64 [B]), [B, rows * columns].
  at::Tensor values(const at::Tensor& index, at::TensorOptions options) const;
};

/// The parts of one data set. Validation images are training images that no network learns from, to
/// choose by; none where `validation.pixels` is undefined.
struct ImageSets {
  Images train;
  Images test;
  Images validation = {};
};

/// Which part of a data set: 60,000 training or 10,000 test images in MNIST and Fashion-MNIST.
enum class Split { kTrain, kTest };

/// The folder that data sets are looked for in.
struct DataRoot {
  std::filesystem::path path;
  std::string named_by;  ///< "--data", "PCXX_DATA_DIR", or empty for ./data, which nobody named
};

/// `given`, or the folder that the environment's PCXX_DATA_DIR names when none is given, or `data`
/// in the current folder when the variable is not set either; an empty text counts as none. A
/// folder that was named is never silently replaced by another.
DataRoot data_root(const std::optional<std::filesystem::path>& given);

/// The folder of a data set in data_root(given): DATASET, or where torchvision keeps it (MNIST/raw,
/// FashionMNIST/raw); of several the first that has the training images. nullopt when there is no
/// such folder.
std::optional<std::filesystem::path> find_data_folder(
    const std::optional<std::filesystem::path>& given, std::string_view dataset);

/// Throws the UserError that says that find_data_folder has found nothing: what was looked for,
/// where, who named that folder, and what similar files lie there.
[[noreturn]] void refuse_data_folder(const std::optional<std::filesystem::path>& given,
                                     std::string_view dataset);

/// One split of "mnist" or "fashion-mnist", from the four files of the official release in the data
/// set's folder (see find_data_folder), compressed (.gz) or not, also called
/// train-images.idx3-ubyte with a dot. Throws UserError when the folder or a file is missing (the
/// text names the folder and data/get_data), or a file is bad (see read_idx).
Images load_images(std::string_view dataset, Split split,
                   const std::optional<std::filesystem::path>& data_folder = std::nullopt);

/// Images of any IDX file of three dimensions, with labels from an IDX file of one. Further
/// dimensions of size 1 do not count, as in count x 1 x rows x columns; images of a file of two
/// dimensions, count x pixels, are squares where the pixels make one, and one row elsewhere. Throws
/// UserError when a file is bad or the two do not hold equally many.
Images load_images(const std::filesystem::path& images,
                   const std::optional<std::filesystem::path>& labels = std::nullopt);

/// The batch of an autoencoder: the images at `index` (int64 [B]) are inputs and targets.
Batch autoencoding_batch(const Images& images, const at::Tensor& index, at::TensorOptions options);

/// The batch of a classifier: targets are one-hot, [B, classes]. The images must have labels.
Batch classification_batch(const Images& images, const at::Tensor& index, std::int64_t classes,
                           at::TensorOptions options);

}  // namespace pcxx::data
