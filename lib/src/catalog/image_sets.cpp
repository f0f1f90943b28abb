#include <fmt/format.h>
#include <pcxx/catalog/image_sets.h>
#include <pcxx/core/error.h>
#include <pcxx/data/drawn_digits.h>

#include <filesystem>
#include <optional>

#include "catalog/registry.h"

namespace pcxx::catalog {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kDigitsTrain = 60000;
constexpr std::int64_t kDigitsTest = 10000;

bool names(const config::Config& config, const std::string& key) {
  return config.has(key) && !config.text(key).empty();
}

std::optional<fs::path> folder_of(const config::Config& config) {
  return names(config, "data") ? std::optional<fs::path>(config.text("data")) : std::nullopt;
}

// The first of the keys that name IDX files.
std::optional<std::string> named_idx_key(const config::Config& config) {
  for (const char* key : {"train_images", "test_images", "train_labels", "test_labels"}) {
    if (names(config, key)) return key;
  }
  return std::nullopt;
}

// Labels that nobody needs are read too where they are named.
data::Images load_idx(const config::Config& config, const std::string& split, bool labels) {
  const auto file = [&](const std::string& what) -> fs::path {
    const auto key = split + "_" + what;
    if (!names(config, key)) user_error("dataset = 'idx' needs the key {}", key);
    return config.text(key);
  };
  const auto images = file("images");
  labels = labels || names(config, split + "_labels");
  return data::load_images(images, labels ? std::optional(file("labels")) : std::nullopt);
}

// Refuses files and folders that the data set does not come from. Digits that were asked for by
// name need no folder, and mind none.
void check_named(const config::Config& config) {
  const auto& dataset = config.text("dataset");
  const auto key = named_idx_key(config);
  if (key && dataset != "idx") {
    user_error("{} = '{}' is for dataset = 'idx', not '{}'", *key, config.text(*key), dataset);
  }
  if (dataset == "idx" && names(config, "data")) {
    user_error(
        "--data '{}' says nothing to dataset = 'idx', which takes train_images and test_images",
        config.text("data"));
  }
}

data::Images limit(const data::Images& images, std::int64_t count) {
  return count > 0 ? images.first(count) : images;
}

std::int64_t validation_samples(const config::Config& config) {
  return config.has("validation_samples") ? config.integer("validation_samples") : 0;
}

std::int64_t count_or(std::int64_t wanted, std::int64_t standard) {
  return wanted > 0 ? wanted : standard;
}

// One of the official releases, in a folder.
DatasetPart released(const std::string& name) {
  DatasetPart part;
  part.name = name;
  part.make = [name](const config::Config& config, bool) {
    const auto folder = folder_of(config);
    return data::ImageSets{data::load_images(name, data::Split::kTrain, folder),
                           data::load_images(name, data::Split::kTest, folder)};
  };
  part.origin = [name](const config::Config& config) {
    const auto found = data::find_data_folder(folder_of(config), name);
    return found ? fmt::format(", from '{}'", found->string()) : "";
  };
  return part;
}

DatasetPart digits() {
  DatasetPart part;
  part.name = "digits";
  part.make = [](const config::Config& config, bool) {
    const auto train =
        count_or(config.integer("samples"), kDigitsTrain) + validation_samples(config);
    const auto test = count_or(config.integer("test_samples"), kDigitsTest);
    return data::ImageSets{data::drawn_digits(train, 0),
                           data::drawn_digits(test, 0, kDigitsTrain + train)};
  };
  part.origin = [](const config::Config&) { return ", drawn by the program"; };
  return part;
}

DatasetPart idx() {
  DatasetPart part;
  part.name = "idx";
  part.make = [](const config::Config& config, bool labels) {
    return data::ImageSets{load_idx(config, "train", labels), load_idx(config, "test", labels)};
  };
  part.origin = [](const config::Config& config) {
    return fmt::format(", from '{}' and '{}'", config.text("train_images"),
                       config.text("test_images"));
  };
  return part;
}

}  // namespace

std::vector<DatasetPart> dataset_parts() {
  return {released("mnist"), released("fashion-mnist"), digits(), idx()};
}

const std::string& dataset_name(const config::Config& config) {
  return config.text("dataset");
}

std::string automatic_dataset(const config::Config& config) {
  const auto folder = folder_of(config);
  if (named_idx_key(config)) return "idx";
  if (data::find_data_folder(folder, "mnist")) return "mnist";
  if (!data::data_root(folder).named_by.empty()) data::refuse_data_folder(folder, "mnist");
  return "digits";
}

data::ImageSets load_image_sets(const config::Config& config, bool labels) {
  if (!is_added(config, "dataset")) check_named(config);
  auto sets = datasets().find(config.text("dataset"))->make(config, labels);
  if (const auto held_out = validation_samples(config); held_out > 0) {
    if (held_out >= sets.train.size()) {
      user_error("validation_samples = {} leaves none of the {} training images to learn from",
                 held_out, sets.train.size());
    }
    sets.validation = sets.train.last(held_out);
    sets.train = sets.train.without_last(held_out);
  }
  sets.train = limit(sets.train, config.integer("samples"));
  sets.test = limit(sets.test, config.integer("test_samples"));
  return sets;
}

std::string image_origin(const config::Config& config) {
  const auto& part = *datasets().find(config.text("dataset"));
  return part.origin ? part.origin(config) : "";
}

}  // namespace pcxx::catalog
