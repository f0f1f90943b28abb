#include <fmt/format.h>

#include "reproduce/comparisons.h"

namespace pcxx::reproduce {
namespace {

const char* const kDifference = "TA difference";
const char* const kExact = "|1 - TA|";
const char* const kPerLayer = "TA per hidden layer";
const char* const kPerDoubling = "TA per doubling";
const char* const kPerDecade = "TA per decade";
constexpr double kNearOne = 0.9;
constexpr double kFlat = 0.01;

const Identity kBp = model("bp");
const Identity kPc = model("pc");
const Identity kBpAlpha = model("bp", "alpha");
const Identity kPcAlpha = model("pc", "alpha");
const Identity kBpDecorrelation = model("bp", "decorrelation");
const Identity kPcDecorrelation = model("pc", "decorrelation");

const Cells kConditions{.key = "condition_number"};
const Cells kFromTwo{.key = "condition_number", .from = 2};
const Cells kAtOne{.key = "condition_number", .to = 1};
const Cells kBatches{.key = "batch_size"};
const Cells kExactBatches{.key = "batch_size", .to = 480};

Cells depths(Identity base) {
  return {.key = "hidden_layers", .base = std::move(base)};
}

// Figure 2: panels over depth and width, each at two batch sizes.
struct Sweep {
  const char* panel;
  const char* init;
  bool depth;
};

void add_figure_2(std::vector<Reading>& readings, const Sweep& sweep, int batch) {
  const Cells cells{.key = sweep.depth ? "hidden_layers" : "width",
                    .base = {{"batch_size", batch}}};
  const auto scale = sweep.depth ? Scale::kLinear : Scale::kLog2;
  const auto* unit = sweep.depth ? kPerLayer : kPerDoubling;
  const auto name =
      fmt::format("{}, {}, B = {}", sweep.init, sweep.depth ? "depth" : "width", batch);
  const bool kaiming = std::string(sweep.init) == "Kaiming";
  const auto add = [&](const char* claim, const std::string& reading, const char* statement,
                       const char* in, Compare compare) {
    readings.push_back({claim, reading, statement, in, sweep.panel, std::move(compare)});
  };
  add("a", name, "PC's target alignment is above BP's", kDifference,
      each(cells, {more_aligned(kPc, kBp)}));
  if (!kaiming) {
    add("b", name, "PC's target alignment stays above 0.9", kDifference,
        each(cells, {aligned_above(kPc, kNearOne)}));
  }
  if (!kaiming && !sweep.depth) {
    add("b", name + ", slope", "PC's target alignment does not depend on the width", unit,
        flat(cells, scale, kFlat, kPc));
  }
  if (kaiming && sweep.depth) {
    add("c", name, "PC's target alignment falls with depth", unit, trend(cells, scale, -1, kPc));
    add("c", name + ", scatter", "PC's target alignment scatters more when deep", kDifference,
        scatters_more(cells, kPc));
  }
  add("j", name, sweep.depth ? "PC's lead grows with depth" : "PC's lead grows with narrowness",
      unit, gap_trend(cells, scale, sweep.depth ? 1 : -1, kPc, kBp));
}

void add_residual(std::vector<Reading>& readings, const char* init, const char* name) {
  const auto base = [&](const char* architecture) {
    return Identity{{"architecture", architecture}, {"init", init}};
  };
  const auto residual = depths(base("residual"));
  const auto bp_in = [&](const char* architecture) {
    return with(kBp, {{"architecture", architecture}});
  };
  readings.push_back({"i", std::string(name) + ", PC against BP",
                      "in residual networks PC's target alignment is above BP's", kDifference, "5",
                      each(residual, {more_aligned(kPc, kBp)})});
  auto across = more_aligned(bp_in("residual"), bp_in("dln"));
  across.label = "BP, residual against plain";
  readings.push_back({"i", std::string(name) + ", BP against BP",
                      "BP is better aligned in a residual network than in a plain one", kDifference,
                      "5", each(depths({{"init", init}}), {across})});
  readings.push_back({"i", std::string(name) + ", alpha",
                      "PC + alpha is exact in residual networks", kExact, "6",
                      each(residual, {exact(kPcAlpha)})});
  readings.push_back({"i", std::string(name) + ", alpha by x*.x*",
                      "PC + alpha by x*.x* is exact in residual networks", kExact, "6-presynaptic",
                      each(residual, {exact(kPcAlpha)})});
  readings.push_back(
      {"o", std::string("alpha, depth, ") + name,
       "PC + alpha at B = 1 is the natural gradient in function space", kExact, "6",
       each(depths(base("dln")), {exact(kPcAlpha), exact(kPcAlpha, "batch_alignment")})});
}

}  // namespace

std::vector<Reading> alignment_readings() {
  std::vector<Reading> readings{
      {"e", "PC + alpha", "PC + alpha is exact at every condition number", kExact, "3A",
       each(kConditions, {exact(kPcAlpha)})},
      {"e", "BP + alpha, condition number 1", "BP + alpha is exact at condition number 1", kExact,
       "3A", each(kAtOne, {exact(kBpAlpha)})},
      {"e", "BP + alpha, condition number 2 and more",
       "BP + alpha's target alignment is below 1 from condition number 2 on", kDifference, "3A",
       each(kFromTwo, {aligned_below_one(kBpAlpha)})},
      {"f", "PC + decorrelation", "PC + decorrelation is exact at every batch size", kExact, "4A",
       each(kBatches, {exact(kPcDecorrelation)})},
      {"f", "PC + decorrelation, as printed",
       "PC + decorrelation with the factor as printed is exact at every batch size", kExact,
       "4A-printed", each(kBatches, {exact(kPcDecorrelation)})},
      {"f", "plain PC", "plain PC's target alignment falls with batch size", kPerDoubling, "4A",
       trend(kBatches, Scale::kLog2, -1, kPc)},
      {"f", "plain BP", "plain BP's target alignment falls with batch size", kPerDoubling, "4A",
       trend(kBatches, Scale::kLog2, -1, kBp)},
      {"f", "BP + decorrelation", "BP + decorrelation's target alignment is below 1", kDifference,
       "4A", each(kBatches, {aligned_below_one(kBpDecorrelation)})},
      {"j", "condition number", "PC's lead grows with the condition number", kPerDecade, "3A",
       gap_trend(kConditions, Scale::kLog10, 1, kPc, kBp)},
      {"l", "alpha, condition number 2 and more",
       "BP + alpha's target alignment is above BP's, where BP is not exact by itself", kDifference,
       "3A", each(kFromTwo, {more_aligned(kBpAlpha, kBp)})},
      {"l", "decorrelation", "BP + decorrelation's target alignment is above BP's", kDifference,
       "4A", each(kBatches, {more_aligned(kBpDecorrelation, kBp)})},
      {"o", "decorrelation, B <= 480",
       "PC + decorrelation is the natural gradient in function space", kExact, "4A",
       each(kExactBatches, {exact(kPcDecorrelation), exact(kPcDecorrelation, "batch_alignment")})},
      {"o", "alpha, condition number",
       "PC + alpha at B = 1 is the natural gradient in function space", kExact, "3A",
       each(kConditions, {exact(kPcAlpha), exact(kPcAlpha, "batch_alignment")})}};
  for (const auto& sweep :
       {Sweep{"2A", "Kaiming", true}, Sweep{"2B", "Kaiming", false},
        Sweep{"2C", "norm-preserving", true}, Sweep{"2D", "norm-preserving", false}}) {
    for (const int batch : {1, 128}) add_figure_2(readings, sweep, batch);
  }
  add_residual(readings, "kaiming", "Kaiming");
  add_residual(readings, "norm_preserving", "norm-preserving");
  return readings;
}

}  // namespace pcxx::reproduce
