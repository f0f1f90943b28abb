#include "catalog/amounts.h"

#include <pcxx/core/error.h>

#include <algorithm>

namespace pcxx::catalog {
namespace {

constexpr double kMostNumbers = 1e11;
constexpr std::size_t kMostWidths = 10'002;  // as hidden_layers, with inputs and outputs

bool is(const config::Config& config, const char* key, const char* value) {
  if (!config.has(key)) return false;
  const auto texts = config.texts(key);
  return std::find(texts.begin(), texts.end(), value) != texts.end();
}

// Rules and rescalings that keep a square matrix a layer.
bool keeps_squares(const config::Config& config) {
  return is(config, "rule", "kpc") || is(config, "rescaling", "recursive_projection");
}

// The map that gives the targets.
void check_teacher(const config::Config& config, double inputs, double outputs) {
  if (!config.has("targets")) return;
  const double hidden = is(config, "targets", "relu_teacher") ? 5 * inputs : 0;
  check_numbers(inputs * outputs + hidden * (inputs + outputs),
                "the teacher's map of these inputs to these outputs");
}

}  // namespace

void check_numbers(double count, std::string_view what) {
  if (count <= kMostNumbers) return;
  user_error("{} would be {:.2g} numbers, more than the {:g} that a machine may hold", what, count,
             kMostNumbers);
}

void check_network(const config::Config& config, const std::vector<std::int64_t>& widths,
                   double weights) {
  if (widths.size() > kMostWidths) {
    user_error("widths has {} layers, more than the {} that are possible", widths.size(),
               kMostWidths);
  }
  const std::vector<double> n(widths.begin(), widths.end());
  check_numbers(weights, "the weights of a network of these widths");
  check_teacher(config, n.front(), n.back());
  const double widest = *std::max_element(n.begin(), n.end());
  if (keeps_squares(config)) {
    check_numbers(widest * widest,
                  "what rule = 'kpc' or recursive_projection keeps of layers of these widths");
  }
  for (const char* key : {"batch_size", "held_out"}) {
    if (!config.has(key)) continue;
    const auto sizes = config.integers(key);
    const auto largest = static_cast<double>(*std::max_element(sizes.begin(), sizes.end()));
    check_numbers(largest * widest, fmt::format("{} = {} samples of these widths", key, largest));
  }
}

void check_curves(const config::Config& model) {
  const auto steps = static_cast<double>(model.integer("steps"));
  const auto runs = static_cast<double>(model.values("learning_rate").size()) *
                    static_cast<double>(model.values("seeds").size());
  check_numbers((steps + 1) * runs, fmt::format("steps = {} of {} runs", steps, runs));
}

}  // namespace pcxx::catalog
