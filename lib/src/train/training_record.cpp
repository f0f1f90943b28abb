#include "train/training_record.h"

#include <ATen/ATen.h>

namespace pcxx::train {
namespace {

constexpr const char* kTestedAt = "tested_at";
constexpr const char* kTest = "test.";
constexpr const char* kUpdate = "update.";

using Rows = std::map<std::string, std::vector<double>>;

void add(run::Part& part, const std::string& prefix, const Rows& entries) {
  for (const auto& [name, values] : entries) part[prefix + name] = at::tensor(values, at::kDouble);
}

// All entries that are called prefix + name, by name.
Rows rows_below(const run::Part& part, std::string_view prefix) {
  Rows found;
  for (const auto& [name, values] : entries_below(part, prefix)) {
    TORCH_CHECK(values.dim() == 1, prefix, name, " is a list, not ", values.sizes());
    const auto* data = values.const_data_ptr<double>();
    found[name] = {data, data + values.numel()};
  }
  return found;
}

}  // namespace

run::Part to_part(const Training& training) {
  run::Part part{{kTestedAt, at::tensor(training.tested_at, at::kLong)}};
  add(part, kTest, training.tests);
  add(part, kUpdate, training.updates);
  add(part, kNumber, training.numbers);
  return part;
}

Training to_training(const run::Part& part, std::int64_t members) {
  const auto& steps = entry(part, kTestedAt);
  const auto* first = steps.const_data_ptr<std::int64_t>();
  Training training{.tested_at = {first, first + steps.numel()},
                    .tests = rows_below(part, kTest),
                    .updates = rows_below(part, kUpdate),
                    .numbers = rows_below(part, kNumber)};
  const auto wide = static_cast<std::size_t>(members);
  for (const auto& [name, curve] : training.tests) {
    TORCH_CHECK(curve.size() == training.tested_at.size() * wide, kTest, name, " has ",
                curve.size(), " values at ", training.tested_at.size(), " steps");
  }
  for (const auto& [name, curve] : training.updates) {
    TORCH_CHECK(curve.size() % wide == 0, kUpdate, name, " has ", curve.size(), " values");
  }
  for (const auto& [name, values] : training.numbers) {
    TORCH_CHECK(values.size() == wide || values.size() == 1, kNumber, name, " has ", values.size(),
                " values");
  }
  return training;
}

}  // namespace pcxx::train
