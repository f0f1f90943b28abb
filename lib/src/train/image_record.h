#pragma once

#include <pcxx/run/parts.h>
#include <pcxx/train/image_training.h>

#include <set>
#include <string>
#include <string_view>

/// A training on images as a part of its run, and back.
namespace pcxx::train {

inline constexpr const char* kTrainError = "train_error";
inline constexpr const char* kPasses = "inference_passes";
inline constexpr const char* kConverged = "inference_converged";
inline constexpr const char* kUnstableAt = "inference_unstable_at";
inline constexpr const char* kDeadUnits = "dead_units";

run::Part to_part(const ImageTraining& training);

/// Throws c10::Error where the part is no training.
ImageTraining to_training(const run::Part& part);

/// What all runs of a model have, and nothing else but how they ended.
std::set<std::string> names_of(const ImageTraining& training);

/// Throws c10::Error unless the part is a whole run of the model, in which `criterion` was tested.
void check_part(const run::Part& part, const config::Config& model, std::string_view criterion);

}  // namespace pcxx::train
