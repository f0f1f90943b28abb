#include "reproduce/comparisons.h"

namespace pcxx::reproduce {
namespace {

const char* const kDecades = "decades (log10 ratio)";
const char* const kAreas = "log_areas";
const char* const kExcess = "final_excess_errors";

// The four models of a figure: plain, and rescaled by alpha online or by decorrelation in batches.
struct Four {
  explicit Four(const char* rescaling)
      : bp_rescaled(model("bp", rescaling)), pc_rescaled(model("pc", rescaling)) {}

  Identity bp = model("bp");
  Identity pc = model("pc");
  Identity bp_rescaled;
  Identity pc_rescaled;
};

Compare pc_against_bp() {
  return each({}, {trains_better(model("pc"), model("bp"))});
}

Compare pc_against_bp_at_widths(const Identity& base) {
  return each({.key = "width", .base = base}, {trains_better(model("pc"), model("bp"), kExcess)});
}

// One model against the other three.
Compare best(const Cells& cells, const Identity& first, const std::vector<Identity>& others,
             const char* metric) {
  std::vector<Measure> measures;
  for (const auto& other : others) measures.push_back(trains_better(first, other, metric));
  return each(cells, measures);
}

Compare rescaled_pc_is_best(const Cells& cells, const char* metric) {
  const Four batch("decorrelation");
  return best(cells, batch.pc_rescaled, {batch.bp, batch.pc, batch.bp_rescaled}, metric);
}

Compare pc_is_best_online() {
  const Four online("alpha");
  return best({}, online.pc, {online.bp, online.bp_rescaled, online.pc_rescaled}, "final_errors");
}

Compare in_order_of_speed() {
  const Four batch("decorrelation");
  return each({}, {trains_better(batch.pc_rescaled, batch.pc, kAreas),
                   trains_better(batch.pc, batch.bp_rescaled, kAreas),
                   trains_better(batch.bp_rescaled, batch.bp, kAreas)});
}

Compare alpha_helps_little() {
  return each({}, {trains_alike(model("pc", "alpha"), model("pc"))});
}

}  // namespace

std::vector<Reading> training_readings() {
  const char* const ends_lower = "PC ends lower than BP";
  const char* const fastest = "PC + decorrelation is faster than the other three";
  const char* const lowest = "PC + decorrelation ends lowest at each width";
  const char* const little = "alpha changes PC's final error by less than half a decade";
  const char* const online = "PC ends lower than the other three";
  const Cells widths{.key = "width"};
  return {
      {"d", "Kaiming, 1 hidden", ends_lower, kDecades, "2E", pc_against_bp()},
      {"d", "Kaiming, 8 hidden", ends_lower, kDecades, "2F", pc_against_bp()},
      {"d", "norm-preserving, 1 hidden", ends_lower, kDecades, "2G", pc_against_bp()},
      {"d", "norm-preserving, 8 hidden", ends_lower, kDecades, "2H", pc_against_bp()},
      {"g", "batch, 1 hidden", fastest, kDecades, "4B", rescaled_pc_is_best({}, kAreas)},
      {"g", "batch, 8 hidden", fastest, kDecades, "4C", rescaled_pc_is_best({}, kAreas)},
      {"g", "batch, 8 hidden, ten rates", fastest, kDecades, "10-batch",
       rescaled_pc_is_best({}, kAreas)},
      {"g", "online, 1 hidden", little, kDecades, "3B", alpha_helps_little()},
      {"g", "online, 8 hidden", little, kDecades, "3C", alpha_helps_little()},
      {"g", "online, 8 hidden, alpha with a floor", little, kDecades, "3C-floored",
       alpha_helps_little()},
      {"h", "autoencoder, B = 64", "PC + decorrelation is fastest, then PC, BP + decorrelation, BP",
       kDecades, "4D", in_order_of_speed()},
      {"k", "literal alpha", online, kDecades, "3C", pc_is_best_online()},
      {"k", "alpha with a floor", online, kDecades, "3C-floored", pc_is_best_online()},
      {"k", "ten rates", online, kDecades, "10-online", pc_is_best_online()},
      {"m", "PC against BP, Kaiming, B = 64", ends_lower, kDecades, "7",
       pc_against_bp_at_widths({{"init", "kaiming"}})},
      {"m", "PC against BP, norm-preserving, B = 64", ends_lower, kDecades, "7",
       pc_against_bp_at_widths({{"init", "norm_preserving"}})},
      {"m", "PC against BP, norm-preserving, B = 1", ends_lower, kDecades, "8-online",
       pc_against_bp_at_widths({})},
      {"m", "rescaled PC, norm-preserving, B = 64", lowest, kDecades, "8-batch",
       rescaled_pc_is_best(widths, kExcess)},
      {"n", "autoencoder, B = 1", ends_lower, kDecades, "3D", pc_against_bp()},
      {"n", "autoencoder, B = 64", ends_lower, kDecades, "4D", pc_against_bp()}};
}

}  // namespace pcxx::reproduce
