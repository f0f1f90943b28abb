#pragma once

#include <pcxx/config/config.h>
#include <pcxx/data/image_dataset.h>

#include <string>

/// The images that a config names by dataset, data, train_images, ..., samples and test_samples.
namespace pcxx::catalog {

/// The key `dataset`.
const std::string& dataset_name(const config::Config& config);

/// What dataset = "auto" stands for: the IDX files or the folder that the user has named, and drawn
/// digits only where nothing was named and ./data has no MNIST. Throws UserError where a folder
/// that was named has none.
std::string automatic_dataset(const config::Config& config);

/// Training and test images of a dataset other than "auto", and the last `validation_samples` of
/// all training images, which then are none of the `samples` to learn from. IDX files have labels
/// where these are wanted or named. Throws UserError where there are none, and where a key names
/// files that the data set does not come from.
data::ImageSets load_image_sets(const config::Config& config, bool labels);

/// Where they come from, for people: ", from 'data/mnist'"; empty where that is the program's own
/// affair.
std::string image_origin(const config::Config& config);

}  // namespace pcxx::catalog
