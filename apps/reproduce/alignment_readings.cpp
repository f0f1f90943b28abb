#include <fmt/format.h>

#include "reproduce/comparisons.h"

namespace pcxx::reproduce {
namespace {

const char* const kDifference = "TA difference";
const char* const kExact = "|1 - TA|";
const char* const kAbove = "PC's target alignment is above BP's";
const char* const kPerLayer = "TA per hidden layer";
const char* const kPerDoubling = "TA per doubling";
const char* const kPerDecade = "TA per decade";

const Identity kBp = model("bp");
const Identity kPc = model("pc");
const Identity kBpAlpha = model("bp", "alpha");
const Identity kPcAlpha = model("pc", "alpha");
const Identity kBpDecorrelation = model("bp", "decorrelation");
const Identity kPcDecorrelation = model("pc", "decorrelation");

const Cells kConditions{.key = "condition_number"};
const Cells kCellsOfWidth{.key = "width", .base = {{"batch_size", 1}}};
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
  add("a", name, kAbove, kDifference, each(cells, {more_aligned(kPc, kBp)}));
  if (!kaiming) {
    add("b", name, "PC's target alignment stays above 0.9", kDifference,
        each(cells, {aligned_above(kPc, kNearOne)}));
  }
  if (!kaiming && !sweep.depth) {
    add("b", name + ", change",
        "from width to width PC's target alignment changes by less than 0.01 a doubling", unit,
        flat(cells, kFlat, kPc));
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
  auto pc_across =
      more_aligned(with(kPc, {{"architecture", "residual"}}), with(kPc, {{"architecture", "dln"}}));
  pc_across.label = "PC, residual against plain";
  readings.push_back({"i", std::string(name) + ", PC against PC",
                      "PC is better aligned in a residual network than in a plain one", kDifference,
                      "5", each(depths({{"init", init}}), {pc_across})});
  readings.push_back({"i", std::string(name) + ", lead",
                      "in residual networks PC's lead grows with depth", kPerLayer, "5",
                      gap_trend(residual, Scale::kLinear, 1, kPc, kBp)});
  std::vector<Measure> decorrelated;
  for (const int batch : {1, 32, 64, 120}) {
    decorrelated.push_back(exact(with(kPcDecorrelation, {{"batch_size", batch}})));
    decorrelated.back().label += fmt::format(" at B = {}", batch);
  }
  readings.push_back({"i", std::string(name) + ", decorrelation",
                      "PC + decorrelation is exact in residual networks", kExact, "6-decorrelation",
                      each(residual, decorrelated)});
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

// One rule with norm-preserving and with Kaiming weights, in the panels of figure 2.
Reading norm_preserving_above(const char* rule, const char* panels, const char* key, int batch) {
  auto above = more_aligned(with(model(rule), {{"init", "norm_preserving"}}),
                            with(model(rule), {{"init", "kaiming"}}));
  above.label = "norm-preserving against Kaiming";
  return {"q",
          fmt::format("{}, {}, B = {}", rule == std::string("pc") ? "PC" : "BP",
                      key == std::string("width") ? "width" : "depth", batch),
          "target alignment is lower with Kaiming weights than with norm-preserving ones",
          kDifference,
          panels,
          each({.key = key, .base = {{"batch_size", batch}}}, {above})};
}

// One step at 1e-4 in place of the first order, at one sample.
void add_one_step(std::vector<Reading>& readings) {
  const auto add = [&](const char* claim, const char* name, const char* statement,
                       const char* panel, Compare compare) {
    readings.push_back({claim, fmt::format("{}, B = 1, one step at 1e-4", name), statement,
                        kDifference, panel, std::move(compare)});
  };
  const auto depth = depths({{"batch_size", 1}});
  add("a", "Kaiming, depth", kAbove, "2A-step", each(depth, {more_aligned(kPc, kBp)}));
  add("a", "norm-preserving, depth", kAbove, "2C-step", each(depth, {more_aligned(kPc, kBp)}));
  add("a", "norm-preserving, width", kAbove, "2D-step",
      each(kCellsOfWidth, {more_aligned(kPc, kBp)}));
  add("b", "norm-preserving, depth", "PC's target alignment stays above 0.9", "2C-step",
      each(depth, {aligned_above(kPc, kNearOne)}));
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
      {"f", "PC against BP", kAbove, kDifference, "4A", each(kBatches, {more_aligned(kPc, kBp)})},
      {"f", "BP + decorrelation", "BP + decorrelation's target alignment is below 1", kDifference,
       "4A", each(kBatches, {aligned_below_one(kBpDecorrelation)})},
      {"f", "PC + decorrelation against BP + decorrelation",
       "PC + decorrelation's target alignment is above BP + decorrelation's", kDifference, "4A",
       each(kBatches, {more_aligned(kPcDecorrelation, kBpDecorrelation)})},
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
       each(kConditions, {exact(kPcAlpha), exact(kPcAlpha, "batch_alignment")})},
      {"r", "PC", "PC's target alignment falls with the condition number", kPerDecade, "3A",
       trend(kConditions, Scale::kLog10, -1, kPc)},
      {"r", "BP", "BP's target alignment falls with the condition number", kPerDecade, "3A",
       trend(kConditions, Scale::kLog10, -1, kBp)},
      {"r", "BP + alpha", "BP + alpha's target alignment falls with the condition number",
       kPerDecade, "3A", trend(kConditions, Scale::kLog10, -1, kBpAlpha)}};
  for (const auto& sweep :
       {Sweep{"2A", "Kaiming", true}, Sweep{"2B", "Kaiming", false},
        Sweep{"2C", "norm-preserving", true}, Sweep{"2D", "norm-preserving", false}}) {
    for (const int batch : {1, 128}) add_figure_2(readings, sweep, batch);
  }
  for (const char* rule : {"pc", "bp"}) {
    for (const int batch : {1, 128}) {
      readings.push_back(norm_preserving_above(rule, "2A,2C", "hidden_layers", batch));
      readings.push_back(norm_preserving_above(rule, "2B,2D", "width", batch));
    }
  }
  add_one_step(readings);
  add_residual(readings, "kaiming", "Kaiming");
  add_residual(readings, "norm_preserving", "norm-preserving");
  return readings;
}

}  // namespace pcxx::reproduce
