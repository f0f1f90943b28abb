#pragma once

#include <pcxx/run/parts.h>
#include <pcxx/train/training.h>

#include <cstdint>

namespace pcxx::train {

inline constexpr const char* kNumber = "number.";  ///< of a part's entries: numbers of whole runs

/// A training as a part of its run.
run::Part to_part(const Training& training);

/// And back. Throws c10::Error where the part is no training of so many members.
Training to_training(const run::Part& part, std::int64_t members = 1);

}  // namespace pcxx::train
