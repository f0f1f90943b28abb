#include <fmt/format.h>

#include "reproduce/comparisons.h"

namespace pcxx::reproduce {
namespace {

const char* const kDecades = "decades (log10 ratio)";
const char* const kAreas = "log_areas";
const char* const kFinal = "final_errors";
const char* const kBeginning = "early_log_areas";
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

// Either PC against either BP.
Compare pc_ends_lower_online(const Cells& cells, const char* metric) {
  const Four online("alpha");
  std::vector<Measure> measures;
  for (const auto& better : {online.pc, online.pc_rescaled}) {
    for (const auto& worse : {online.bp, online.bp_rescaled}) {
      measures.push_back(trains_better(better, worse, metric));
    }
  }
  return each(cells, measures);
}

// Norm-preserving PC against the three other models of figures 2F and 2H.
Compare norm_preserving_pc_is_best() {
  const auto drawn = [](const char* rule, const char* init) {
    return with(model(rule), {{"init", init}});
  };
  const auto first = drawn("pc", "norm_preserving");
  std::vector<Measure> measures;
  for (const auto& [rule, init] :
       {std::pair{"bp", "norm_preserving"}, {"pc", "kaiming"}, {"bp", "kaiming"}}) {
    measures.push_back(trains_better(first, drawn(rule, init)));
    measures.back().label += fmt::format(", {}", init);
  }
  return each({}, measures);
}

Compare in_order_of_speed() {
  const Four batch("decorrelation");
  return each({}, {trains_better(batch.pc_rescaled, batch.pc, kAreas),
                   trains_better(batch.pc, batch.bp_rescaled, kAreas),
                   trains_better(batch.bp_rescaled, batch.bp, kAreas)});
}

Compare alpha_helps_little_at_first() {
  return each({}, {trains_alike(model("pc", "alpha"), model("pc"), kBeginning)});
}

Compare alpha_helps_later() {
  return each({}, {trains_better(model("pc", "alpha"), model("pc"))});
}

Compare decorrelation_lowers() {
  return each({}, {trains_better(model("pc", "decorrelation"), model("pc")),
                   trains_better(model("bp", "decorrelation"), model("bp"))});
}

Compare alpha_changes_little() {
  return each({}, {trains_alike(model("pc", "alpha"), model("pc")),
                   trains_alike(model("bp", "alpha"), model("bp"))});
}

// A panel of online training, with the alpha that it has.
struct Online {
  const char* name;
  const char* panel;
};

const std::vector<Online> kOnline{{"1 hidden", "3B"},
                                  {"8 hidden, alpha by x*.x*", "3C-presynaptic"},
                                  {"8 hidden, alpha by x*.xhat", "3C"},
                                  {"8 hidden, alpha with a floor", "3C-floored"},
                                  {"8 hidden, ten rates, alpha by x*.x*", "10-presynaptic"},
                                  {"8 hidden, ten rates, alpha by x*.xhat", "10-online"}};
const std::vector<Online> kLong{{"1 hidden, 2,000 steps", "3B-long"},
                                {"8 hidden, 2,000 steps, alpha by x*.x*", "3C-long"}};

void add_online(std::vector<Reading>& readings) {
  const Cells wide{.key = "width", .from = 40};
  for (const auto& [name, panel] : kOnline) {
    readings.push_back({"g", fmt::format("online, {}, beginning", name),
                        "in the first fifth of the training alpha changes PC's mean log10 error by "
                        "less than half a decade",
                        kDecades, panel, alpha_helps_little_at_first()});
    readings.push_back({"k", name, "PC and PC + alpha end lower than BP and BP + alpha", kDecades,
                        panel, pc_ends_lower_online({}, kFinal)});
  }
  for (const auto& [name, panel] : {kOnline[0], kOnline[1], kLong[0], kLong[1]}) {
    readings.push_back({"g", fmt::format("online, {}, end", name), "PC + alpha ends lower than PC",
                        kDecades, panel, alpha_helps_later()});
  }
  readings.push_back({"k", "width 40", "PC and PC + alpha end lower than BP and BP + alpha",
                      kDecades, "8-online", pc_ends_lower_online(wide, kExcess)});
}

}  // namespace

std::vector<Reading> training_readings() {
  const char* const ends_lower = "PC ends lower than BP";
  const char* const fastest = "PC + decorrelation is faster than the other three";
  const char* const lowest = "PC + decorrelation ends lowest at each width";
  const Cells widths{.key = "width"};
  std::vector<Reading> readings{
      {"d", "Kaiming, 1 hidden", ends_lower, kDecades, "2E", pc_against_bp()},
      {"d", "Kaiming, 8 hidden", ends_lower, kDecades, "2F", pc_against_bp()},
      {"d", "norm-preserving, 1 hidden", ends_lower, kDecades, "2G", pc_against_bp()},
      {"d", "norm-preserving, 8 hidden", ends_lower, kDecades, "2H", pc_against_bp()},
      {"g", "batch, 1 hidden", fastest, kDecades, "4B", rescaled_pc_is_best({}, kAreas)},
      {"g", "batch, 8 hidden", fastest, kDecades, "4C", rescaled_pc_is_best({}, kAreas)},
      {"g", "batch, 8 hidden, ten rates", fastest, kDecades, "10-batch",
       rescaled_pc_is_best({}, kAreas)},
      {"h", "autoencoder, B = 64", "PC + decorrelation is fastest, then PC, BP + decorrelation, BP",
       kDecades, "4D", in_order_of_speed()},
      {"m", "PC against BP, Kaiming, B = 64", ends_lower, kDecades, "7",
       pc_against_bp_at_widths({{"init", "kaiming"}})},
      {"m", "PC against BP, norm-preserving, B = 64", ends_lower, kDecades, "7",
       pc_against_bp_at_widths({{"init", "norm_preserving"}})},
      {"m", "PC against BP, norm-preserving, B = 1", ends_lower, kDecades, "8-online",
       pc_against_bp_at_widths({})},
      {"m", "rescaled PC, norm-preserving, B = 64", lowest, kDecades, "8-batch",
       rescaled_pc_is_best(widths, kExcess)},
      {"n", "autoencoder, B = 1", ends_lower, kDecades, "3D", pc_against_bp()},
      {"n", "autoencoder, B = 64", ends_lower, kDecades, "4D", pc_against_bp()},
      {"p", "8 hidden", "norm-preserving PC ends lower than all others of figures 2F and 2H",
       kDecades, "2F,2H", norm_preserving_pc_is_best()},
      {"s", "autoencoder, B = 64", "the rescaled models end lower", kDecades, "4D",
       decorrelation_lowers()},
      {"s", "autoencoder, B = 1", "alpha changes the final error by less than half a decade",
       kDecades, "3D", alpha_changes_little()},
      {"t", "1-1-2", "PC's way to the target is shorter than BP's",
       "length over the straight distance", "1B",
       each({}, {more_direct(model("pc"), model("bp"))})}};
  add_online(readings);
  return readings;
}

}  // namespace pcxx::reproduce
