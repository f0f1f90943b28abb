#include "train/image_record.h"

#include <ATen/ATen.h>
#include <pcxx/train/training_state.h>

namespace pcxx::train {
namespace {

constexpr const char* kTestedAt = "tested_at";
constexpr const char* kTest = "test.";
constexpr const char* kUpdate = "update.";
constexpr const char* kNumber = "number.";

std::vector<double> numbers(const at::Tensor& values) {
  TORCH_CHECK(values.dim() == 1, "a curve is a list, not ", values.sizes());
  const auto* data = values.const_data_ptr<double>();
  return {data, data + values.numel()};
}

// All entries that are called prefix + name, by name.
template <typename Value, typename Convert>
std::map<std::string, Value> entries(const run::Part& part, std::string_view prefix,
                                     Convert convert) {
  std::map<std::string, Value> found;
  for (const auto& [name, tensor] : part) {
    if (name.starts_with(prefix)) found[name.substr(prefix.size())] = convert(tensor);
  }
  return found;
}

}  // namespace

run::Part to_part(const ImageTraining& training) {
  run::Part part{{kTestedAt, at::tensor(training.tested_at, at::kLong)}};
  for (const auto& [name, curve] : training.tests)
    part[kTest + name] = at::tensor(curve, at::kDouble);
  for (const auto& [name, curve] : training.updates) {
    part[kUpdate + name] = at::tensor(curve, at::kDouble);
  }
  for (const auto& [name, number] : training.numbers) {
    part[kNumber + name] = at::scalar_tensor(number, at::kDouble);
  }
  return part;
}

ImageTraining to_training(const run::Part& part) {
  const auto& steps = entry(part, kTestedAt);
  const auto* first = steps.const_data_ptr<std::int64_t>();
  ImageTraining training{.tested_at = {first, first + steps.numel()},
                         .tests = entries<metrics::Curve>(part, kTest, numbers),
                         .updates = entries<metrics::Curve>(part, kUpdate, numbers),
                         .numbers = entries<double>(
                             part, kNumber, [](const at::Tensor& t) { return t.item<double>(); })};
  for (const auto& [name, curve] : training.tests) {
    TORCH_CHECK(curve.size() == training.tested_at.size(), kTest, name, " has ", curve.size(),
                " values at ", training.tested_at.size(), " steps");
  }
  return training;
}

std::set<std::string> names_of(const ImageTraining& training) {
  std::set<std::string> names;
  for (const auto& [name, curve] : training.tests) names.insert(name);
  for (const auto* name : {kPasses, kConverged}) {
    if (training.numbers.contains(name)) names.insert(name);
  }
  return names;
}

void check_part(const run::Part& part, const config::Config& model, std::string_view criterion) {
  const auto training = to_training(part);
  TORCH_CHECK(!training.tested_at.empty() && training.tests.contains("test_error") &&
                  training.tests.contains(std::string(criterion)),
              "no test was measured");
  for (const auto& [name, curve] : training.tests) {
    TORCH_CHECK(name.starts_with("test_"), "'", name, "' is no name of a test");
  }
  TORCH_CHECK(model.integer("steps") == 0 || training.updates.contains(kTrainError),
              "no step was measured");
}

}  // namespace pcxx::train
