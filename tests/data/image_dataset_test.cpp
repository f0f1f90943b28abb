#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/data/image_dataset.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/environment.h"
#include "support/idx_files.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::data {
namespace {

namespace fs = std::filesystem;
using test::CurrentFolder;
using test::expect_user_error;
using test::gzip;
using test::idx_file;
using test::quoted;
using test::TemporaryFolder;
using test::Variable;

Images five_images() {
  return {.pixels = at::arange(60).mul_(4).to(at::kByte).view({5, 12}),
          .labels = at::tensor({3, 0, 2, 2, 1}, at::kLong),
          .rows = 3,
          .columns = 4};
}

// Oracle: bytes / 255.
TEST(Images, ValuesAreBytesOver255) {
  const auto images = five_images();
  EXPECT_EQ(images.size(), 5);
  EXPECT_EQ(images.features(), 12);
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const auto values = images.values(dtype);
    EXPECT_EQ(values.scalar_type(), dtype);
    EXPECT_TRUE(at::equal(values, at::arange(60, dtype).mul_(4).div_(255).view({5, 12})));
    const auto index = at::tensor({4, 0, 4}, at::kLong);
    EXPECT_TRUE(at::equal(images.values(index, dtype), values.index_select(0, index)));
  }
  const Images ends{.pixels = at::tensor({0, 255}).to(at::kByte).view({1, 2}), .labels = {}};
  EXPECT_TRUE(at::equal(ends.values(at::kFloat), at::tensor({0.0F, 1.0F}).view({1, 2})));
  EXPECT_TRUE(at::equal(images.pixels, five_images().pixels));
}

// Oracle: contract. first() shares memory, and is all where there are no more.
TEST(Images, FirstIsAView) {
  const auto images = five_images();
  const auto two = images.first(2);
  EXPECT_EQ(two.size(), 2);
  EXPECT_EQ(two.pixels.data_ptr(), images.pixels.data_ptr());
  EXPECT_EQ(two.rows, 3);
  EXPECT_EQ(two.columns, 4);
  EXPECT_TRUE(at::equal(two.labels, images.labels.slice(0, 0, 2)));
  EXPECT_EQ(images.first(5).size(), 5);
  EXPECT_EQ(images.first(100).size(), 5);
  EXPECT_EQ(images.first(0).size(), 0);
  auto unlabelled = images;
  unlabelled.labels = at::Tensor();
  EXPECT_FALSE(unlabelled.first(2).labels.defined());
  EXPECT_THROW(images.first(-1), c10::Error);
}

// Oracle: contract.
TEST(Images, MoveToADevice) {
  const auto moved = five_images().to(at::kCPU);
  EXPECT_TRUE(at::equal(moved.pixels, five_images().pixels));
  EXPECT_TRUE(at::equal(moved.labels, five_images().labels));
  EXPECT_EQ(moved.rows, 3);
  const auto elsewhere = five_images().to(at::kMeta);
  EXPECT_TRUE(elsewhere.pixels.is_meta() && elsewhere.labels.is_meta());
}

// Oracle: values() of the index.
TEST(AutoencodingBatch, TargetsAreTheInputs) {
  const auto images = five_images();
  const auto index = at::tensor({1, 3}, at::kLong);
  const auto batch = autoencoding_batch(images, index, at::kDouble);
  EXPECT_EQ(batch.samples, 2);
  EXPECT_TRUE(at::equal(batch.input, images.values(index, at::kDouble)));
  EXPECT_TRUE(at::equal(batch.target, batch.input));
}

// Oracle: one-hot rows written by hand.
TEST(ClassificationBatch, TargetsAreOneHot) {
  const auto images = five_images();
  const auto index = at::tensor({0, 2, 4, 1}, at::kLong);
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const auto batch = classification_batch(images, index, 5, dtype);
    EXPECT_EQ(batch.samples, 4);
    EXPECT_TRUE(at::equal(batch.input, images.values(index, dtype)));
    EXPECT_TRUE(at::equal(batch.target, at::tensor({0, 0, 0, 1, 0,  //
                                                    0, 0, 1, 0, 0,  //
                                                    0, 1, 0, 0, 0,  //
                                                    1, 0, 0, 0, 0})
                                            .view({4, 5})
                                            .to(dtype)));
  }
  EXPECT_THROW(classification_batch(images, index, 3, at::kFloat), c10::Error);
  auto unlabelled = images;
  unlabelled.labels = at::Tensor();
  EXPECT_THROW(classification_batch(unlabelled, index, 5, at::kFloat), c10::Error);
}

// Oracle: the rules of the header, one folder for each way to name it.
TEST(FindDataFolder, NamedFolderThenVariableThenCurrentFolder) {
  const TemporaryFolder folder;
  for (const auto* name : {"named/mnist", "variable/mnist", "here/data/mnist", "empty"}) {
    fs::create_directories(folder / name);
  }
  const CurrentFolder here(folder / "here");
  {
    const Variable variable("PCXX_DATA_DIR", (folder / "variable").string());
    EXPECT_EQ(find_data_folder(folder / "named", "mnist"), folder / "named" / "mnist");
    EXPECT_EQ(find_data_folder(std::nullopt, "mnist"), folder / "variable" / "mnist");
    EXPECT_EQ(find_data_folder(std::nullopt, "fashion-mnist"), std::nullopt);
  }
  for (const auto& unset : {std::optional<std::string>(), std::optional<std::string>("")}) {
    const Variable variable("PCXX_DATA_DIR", unset);
    EXPECT_EQ(find_data_folder(std::nullopt, "mnist"), fs::path("data") / "mnist");
    EXPECT_EQ(find_data_folder(folder / "named", "mnist"), folder / "named" / "mnist");
  }
}

// Oracle: the rules of the header, with who named the folder.
TEST(DataRoot, SaysWhoNamedIt) {
  const auto is = [](const DataRoot& root, const fs::path& path, const std::string& named_by) {
    return root.path == path && root.named_by == named_by;
  };
  {
    const Variable variable("PCXX_DATA_DIR", "variable");
    EXPECT_TRUE(is(data_root("given"), "given", "--data"));
    EXPECT_TRUE(is(data_root(std::nullopt), "variable", "PCXX_DATA_DIR"));
    EXPECT_TRUE(is(data_root(""), "variable", "PCXX_DATA_DIR"));
  }
  const Variable variable("PCXX_DATA_DIR", "");
  EXPECT_TRUE(is(data_root(std::nullopt), "data", ""));
  EXPECT_TRUE(is(data_root("given"), "given", "--data"));
}

// Oracle: contract. A named folder is never replaced by another, although the others have the
// data.
TEST(FindDataFolder, NeverReplacesANamedFolder) {
  const TemporaryFolder folder;
  for (const auto* name : {"variable/mnist", "here/data/mnist", "empty"}) {
    fs::create_directories(folder / name);
  }
  write_file(folder / "file", "no folder");
  const CurrentFolder here(folder / "here");
  {
    const Variable variable("PCXX_DATA_DIR", (folder / "variable").string());
    for (const auto* named : {"empty", "missing", "file"}) {
      EXPECT_EQ(find_data_folder(folder / named, "mnist"), std::nullopt) << named;
    }
  }
  const Variable variable("PCXX_DATA_DIR", (folder / "empty").string());
  EXPECT_EQ(find_data_folder(std::nullopt, "mnist"), std::nullopt);
}

// A small data set in the layout of MNIST.
class LoadImages : public ::testing::Test {
 protected:
  LoadImages() {
    fs::create_directories(mnist());
    write_file(mnist() / "train-images-idx3-ubyte.gz", gzip(idx_file({6, 4, 3})));
    write_file(mnist() / "train-labels-idx1-ubyte.gz", gzip(idx_file({6})));
    write_file(mnist() / "t10k-images-idx3-ubyte", idx_file({2, 4, 3}));
    write_file(mnist() / "t10k-labels-idx1-ubyte", idx_file({2}));
  }
  fs::path root() const { return folder_.path(); }
  fs::path mnist() const { return folder_ / "mnist"; }

 private:
  TemporaryFolder folder_;
};

// Oracle: the bytes that the test wrote.
TEST_F(LoadImages, ReadsTheFilesOfASplit) {
  const auto train = load_images("mnist", Split::kTrain, root());
  EXPECT_EQ(train.size(), 6);
  EXPECT_EQ(train.features(), 12);
  EXPECT_EQ(train.rows, 4);
  EXPECT_EQ(train.columns, 3);
  EXPECT_EQ(train.labels.scalar_type(), at::kLong);
  const auto bytes = test::some_bytes(72);
  for (std::int64_t i = 0; i < 72; ++i) {
    EXPECT_EQ(train.pixels.view(-1)[i].item<std::uint8_t>(),
              static_cast<std::uint8_t>(bytes[static_cast<std::size_t>(i)]));
  }
  for (std::int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(train.labels[i].item<std::int64_t>(),
              static_cast<std::uint8_t>(bytes[static_cast<std::size_t>(i)]));
  }
  EXPECT_EQ(load_images("mnist", Split::kTest, root()).size(), 2);

  const Variable variable("PCXX_DATA_DIR", root().string());
  EXPECT_EQ(load_images("mnist", Split::kTrain).size(), 6);
}

// Oracle: the bytes that the test wrote.
TEST_F(LoadImages, ReadsAnyPairOfFiles) {
  const auto images =
      load_images(mnist() / "t10k-images-idx3-ubyte", fs::path(mnist() / "t10k-labels-idx1-ubyte"));
  EXPECT_EQ(images.size(), 2);
  EXPECT_TRUE(images.labels.defined());
  EXPECT_FALSE(load_images(mnist() / "t10k-images-idx3-ubyte").labels.defined());
}

// Oracle: the same bytes. Dimensions of 1 do not count, and flat images are squares where they can
// be, as converters of arrays write them.
TEST_F(LoadImages, ReadsOtherShapes) {
  const struct {
    std::vector<std::uint32_t> sizes;
    std::int64_t rows;
    std::int64_t columns;
  } shapes[] = {{{6, 1, 4, 3}, 4, 3}, {{6, 4, 3, 1}, 4, 3}, {{6, 1, 1, 4, 3, 1}, 4, 3},
                {{6, 1, 3}, 1, 3},    {{6, 3, 1}, 3, 1},    {{1, 4, 3}, 4, 3},
                {{6, 16}, 4, 4},      {{6, 12}, 1, 12},     {{6, 1}, 1, 1},
                {{6, 1, 1, 1}, 1, 1}};
  for (const auto& [sizes, rows, columns] : shapes) {
    write_file(mnist() / "images", idx_file(sizes));
    const auto images = load_images(mnist() / "images");
    EXPECT_EQ(images.size(), sizes[0]);
    EXPECT_EQ(images.rows, rows);
    EXPECT_EQ(images.columns, columns);
    const auto bytes = test::some_bytes(static_cast<std::size_t>(images.pixels.numel()));
    for (std::int64_t i = 0; i < images.pixels.numel(); ++i) {
      EXPECT_EQ(images.pixels.view(-1)[i].item<std::uint8_t>(),
                static_cast<std::uint8_t>(bytes[static_cast<std::size_t>(i)]));
    }
  }
  write_file(mnist() / "labels", idx_file({6, 1}));
  write_file(mnist() / "images", idx_file({6, 16}));
  EXPECT_EQ(load_images(mnist() / "images", mnist() / "labels").labels.sizes(),
            (at::IntArrayRef{6}));
}

// Oracle: the bytes that the test wrote. Mirrors and archives have a dot for the hyphen.
TEST_F(LoadImages, ReadsFilesWithADotInTheirNames) {
  for (const std::string part : {"train-images", "train-labels"}) {
    const std::string kind = part == "train-images" ? "idx3-ubyte" : "idx1-ubyte";
    fs::rename(mnist() / (part + "-" + kind + ".gz"), mnist() / (part + "." + kind + ".gz"));
  }
  EXPECT_EQ(load_images("mnist", Split::kTrain, root()).size(), 6);
  write_file(mnist() / "train-images.idx3-ubyte", idx_file({6, 4, 3}));
  fs::remove(mnist() / "train-images.idx3-ubyte.gz");
  EXPECT_EQ(load_images("mnist", Split::kTrain, root()).size(), 6);
}

// Oracle: contract. torchvision's folders are found, also where the names differ by their case
// alone.
TEST_F(LoadImages, ReadsTorchvisionsFolders) {
  for (const auto& [dataset, folder] :
       {std::pair("mnist", "MNIST"), std::pair("fashion-mnist", "FashionMNIST")}) {
    const TemporaryFolder other;
    fs::create_directories(other / folder);
    fs::copy(mnist(), other / folder / "raw");
    EXPECT_EQ(load_images(dataset, Split::kTrain, other.path()).size(), 6);
    fs::create_directories(other / dataset);
    EXPECT_EQ(find_data_folder(other.path(), dataset), other / folder / "raw")
        << "a folder without images is no data set";
  }
}

// Oracle: contract. The text says what was looked for, where, who named it, and what is there.
TEST_F(LoadImages, NamesWhatWasLookedForAndWhatIsThere) {
  const auto load = [](const fs::path& folder) {
    return [folder] { load_images("mnist", Split::kTrain, folder); };
  };
  expect_user_error(load(root() / "nowhere"),
                    "there is no folder " + quoted(root() / "nowhere") + " (--data)");
  expect_user_error(load(mnist()),
                    quoted(mnist()) + " (--data) holds the files of a data set itself");
  const auto file = mnist() / "t10k-images-idx3-ubyte";
  expect_user_error(load(file), quoted(file) + " (--data) is a file");
  expect_user_error(load("~/data"), "whose ~ the shell has left as it is");
  const TemporaryFolder pictures;
  for (int i = 0; i < 20; ++i) write_file(pictures / fmt::format("{:02}.png", i), "");
  write_file(pictures / "notes.txt", "");
  expect_user_error(load(pictures.path()), "'mnist' or 'MNIST/raw' in " + quoted(pictures.path()));
  expect_user_error(load(pictures.path()), "it holds '00.png', '01.png', '02.png' and 17 more");
  fs::rename(mnist(), root() / "digits");
  expect_user_error(load(root()), "it holds 'digits/t10k-images-idx3-ubyte', ");
  {
    const Variable variable("PCXX_DATA_DIR", pictures.path().string());
    expect_user_error([] { load_images("mnist", Split::kTrain); }, "(PCXX_DATA_DIR)");
  }
  fs::create_directory(root() / "mnist");
  write_file(root() / "mnist" / "train_images.ubyte", "");
  expect_user_error(load(root()),
                    "'train-images-idx3-ubyte.gz' or 'train-images-idx3-ubyte' or "
                    "'train-images.idx3-ubyte.gz' or 'train-images.idx3-ubyte'");
  expect_user_error(load(root()), "it holds 'train_images.ubyte'");
}

// Oracle: contract. The text names the folder and the script that gets the data.
TEST_F(LoadImages, NamesWhatIsMissing) {
  const auto load = [this] { load_images("mnist", Split::kTrain, root()); };
  fs::remove(mnist() / "train-labels-idx1-ubyte.gz");
  expect_user_error(load, "train-labels-idx1-ubyte.gz");
  expect_user_error(load, quoted(mnist()));
  expect_user_error(load, "data/get_data");
  fs::remove_all(mnist());
  expect_user_error(load, quoted(root()));
  expect_user_error(load, "data/get_data");
  expect_user_error([this] { load_images("cifar", Split::kTrain, root()); }, "'cifar'");
}

// Oracle: contract. Counts that differ, and files that hold something else.
TEST_F(LoadImages, RejectsFilesThatDoNotFit) {
  const auto images = mnist() / "train-images-idx3-ubyte.gz";
  const auto labels = mnist() / "train-labels-idx1-ubyte.gz";
  const auto load = [&] { load_images(images, labels); };
  write_file(labels, gzip(idx_file({7})));
  expect_user_error(load, quoted(labels) + " holds 7 labels");
  expect_user_error(load, quoted(images) + " holds 6 images");
  for (const auto& sizes : {std::vector<std::uint32_t>{6, 2}, {1, 6}, {6, 1, 2}}) {
    write_file(labels, gzip(idx_file(sizes)));
    expect_user_error(load, quoted(labels));
  }
  write_file(labels, gzip(idx_file({6})));
  for (const auto& sizes : {std::vector<std::uint32_t>{6}, {6, 3, 4, 3}, {6, 2, 2, 2, 1}}) {
    write_file(images, gzip(idx_file(sizes)));
    expect_user_error(load, quoted(images));
  }
  write_file(images, "damaged");
  expect_user_error(load, quoted(images));
}

// The real data sets.
class RealImages : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("PCXX_DATA_DIR") == nullptr) GTEST_SKIP() << "PCXX_DATA_DIR is not set";
  }
  static void expect_data_set(std::string_view name, const std::vector<std::int64_t>& first_labels,
                              const std::vector<std::int64_t>& label_counts, double mean,
                              double deviation) {
    if (!find_data_folder(std::nullopt, name)) GTEST_SKIP() << "no folder " << name;
    const auto train = load_images(name, Split::kTrain);
    EXPECT_EQ(train.size(), 60'000);
    EXPECT_EQ(train.rows, 28);
    EXPECT_EQ(train.columns, 28);
    EXPECT_TRUE(at::equal(train.labels.slice(0, 0, 5), at::tensor(first_labels, at::kLong)));
    EXPECT_TRUE(at::equal(at::bincount(train.labels), at::tensor(label_counts, at::kLong)));
    const auto values = train.values(at::kFloat);
    const auto found = values.mean(at::kDouble).item<double>();
    EXPECT_NEAR(found, mean, 5e-5);
    EXPECT_NEAR(std::sqrt(values.square().mean(at::kDouble).item<double>() - found * found),
                deviation, 5e-5);
    const auto test = load_images(name, Split::kTest);
    EXPECT_EQ(test.size(), 10'000);
    EXPECT_EQ(test.labels.size(0), 10'000);
  }
};

// Oracle: published facts: counts, first labels, mean and standard deviation of the pixels.
TEST_F(RealImages, AreMnist) {
  expect_data_set("mnist", {5, 0, 4, 1, 9},
                  {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949}, 0.1307, 0.3081);
}

TEST_F(RealImages, AreFashionMnist) {
  expect_data_set("fashion-mnist", {9, 0, 0, 3, 0}, std::vector<std::int64_t>(10, 6000), 0.2860,
                  0.3530);
}

}  // namespace
}  // namespace pcxx::data
