#include "made_up_results.h"

namespace pcxx::reproduce {
namespace {

class TrainingClaims : public MadeUpResults {};

// Oracle: by hand, the mirror image has one-sided p 0.015, too much beside three more such claims.
TEST_F(TrainingClaims, AreCorrectedForTheirNumber) {
  std::vector<double> lower;
  for (int s = 0; s < 10; ++s) lower.push_back(std::pow(10, -0.858 + (s % 2 == 0 ? 1 : -1)));
  const std::vector<json> models{trained("bp", "none", std::vector<double>(10, 1)),
                                 trained("pc", "none", lower)};
  write_models("2E", models);
  EXPECT_EQ(verdict("d", "Kaiming, 1 hidden").outcome, Outcome::kSupported);
  for (const char* id : {"2F", "2G", "2H"}) write_models(id, models);
  const auto found = verdict("d", "Kaiming, 1 hidden");
  EXPECT_NEAR(found.p_corrected, 4 * found.p, 1e-12);
  EXPECT_EQ(found.outcome, Outcome::kUndecided);
}

// Oracle: errors made of powers of ten, two decades apart.
TEST_F(TrainingClaims, CompareFinalErrorsInDecades) {
  write_models("2G", {trained("bp", "none", errors(-3, 1)), trained("pc", "none", errors(-5, 2))});
  const auto lower = verdict("d", "norm-preserving, 1 hidden");
  EXPECT_EQ(lower.outcome, Outcome::kSupported) << lower.text;
  EXPECT_NEAR(lower.effect, 2, 0.2);
  write_models("2G", {trained("bp", "none", errors(-5, 1)), trained("pc", "none", errors(-3, 2))});
  EXPECT_EQ(verdict("d", "norm-preserving, 1 hidden").outcome, Outcome::kNotSupported);
  write_models("2G", {trained("bp", "none", errors(-5, 1)), trained("pc", "none", errors(-5, 2))});
  EXPECT_EQ(verdict("d", "norm-preserving, 1 hidden").outcome, Outcome::kUndecided);
}

// Oracle: everything below 1e-28 counts as 1e-28.
TEST_F(TrainingClaims, TieErrorsAtTheFloor) {
  write_models("2E", {trained("bp", "none", {1e-29, 1e-30, 3e-29}),
                      trained("pc", "none", {1e-31, 0, 1e-32})});
  const auto found = verdict("d", "Kaiming, 1 hidden");
  EXPECT_EQ(found.outcome, Outcome::kUndecided);
  EXPECT_EQ(found.effect, 0);
  EXPECT_EQ(found.p, 1);
  EXPECT_TRUE(has_note(found, "3 of 3 seeds tied"));
}

// Oracle: where every seed of both ends at the floor, areas a decade apart decide; not where one of
// them does not.
TEST_F(TrainingClaims, JudgeSpeedWhereAllEndAtTheFloor) {
  const auto at_floor = [](const char* rule, double area, double last = 1e-30) {
    return trained(rule, "none", {1e-29, 1e-30, last}, {area, area + 0.1, area - 0.1});
  };
  write_models("2E", {at_floor("bp", -10), at_floor("pc", -11)});
  const auto found = verdict("d", "Kaiming, 1 hidden");
  EXPECT_EQ(found.outcome, Outcome::kSupported) << found.text;
  EXPECT_NEAR(found.effect, 1, 1e-12);
  EXPECT_TRUE(has_note(found, "judged by the mean log10 error"));
  write_models("2E", {at_floor("bp", -11), at_floor("pc", -10)});
  EXPECT_EQ(verdict("d", "Kaiming, 1 hidden").outcome, Outcome::kNotSupported);
  write_models("2E", {at_floor("bp", -10, 1e-27), at_floor("pc", -11)});
  EXPECT_NEAR(verdict("d", "Kaiming, 1 hidden").effect, 1.0 / 3, 1e-12);
}

// Oracle: against a finite rival divergence loses, without a number; both diverged decide nothing.
TEST_F(TrainingClaims, JudgeDivergence) {
  const auto finite = [](const char* rule) { return trained(rule, "none", errors(-3, 1)); };
  write_models("2H", {diverged("bp"), finite("pc")});
  const auto won = verdict("d", "norm-preserving, 8 hidden");
  EXPECT_EQ(won.outcome, Outcome::kSupported) << won.text;
  EXPECT_TRUE(std::isnan(won.effect));
  EXPECT_TRUE(has_note(won, "BP diverged at every rate"));
  write_models("2H", {finite("bp"), diverged("pc")});
  EXPECT_EQ(verdict("d", "norm-preserving, 8 hidden").outcome, Outcome::kNotSupported);
  write_models("2H", {diverged("bp"), diverged("pc")});
  EXPECT_EQ(verdict("d", "norm-preserving, 8 hidden").outcome, Outcome::kUndecided);
}

// Oracle: the edge as it was written, in a verdict that it does not change.
TEST_F(TrainingClaims, NoteRatesAtTheEdge) {
  auto bp = trained("bp", "none", errors(-3, 1));
  bp["best_rate_at_edge"] = "high";
  write_models("2F", {bp, trained("pc", "none", errors(-5, 2))});
  const auto found = verdict("d", "Kaiming, 8 hidden");
  EXPECT_EQ(found.outcome, Outcome::kSupported);
  EXPECT_TRUE(has_note(found, "BP: best rate at the high edge"));
}

// Oracle: a quarter and a whole decade of the early area, on either side of the half; a rival that
// diverged is far away. The final error is another reading's.
TEST_F(TrainingClaims, SeeWhetherAlphaHelpsLittleAtFirst) {
  const auto with_early = [](const char* rescaling, double early) {
    auto found = trained("pc", rescaling, errors(-3, 1));
    for (int s = 0; s < 10; ++s) found["early_log_areas"].push_back(early + 0.1 * scatter(s, 2));
    return found;
  };
  const char* const reading = "online, 1 hidden, beginning";
  const auto plain = with_early("none", -1);
  write_models("3B", {plain, with_early("alpha", -1.25)});
  EXPECT_EQ(verdict("g", reading).outcome, Outcome::kSupported);
  EXPECT_EQ(verdict("g", "online, 1 hidden, end").outcome, Outcome::kUndecided);
  for (const double early : {-2.0, 0.0}) {
    write_models("3B", {plain, with_early("alpha", early)});
    EXPECT_EQ(verdict("g", reading).outcome, Outcome::kNotSupported) << early;
  }
  write_models("3B", {plain, diverged("pc", "alpha")});
  EXPECT_EQ(verdict("g", reading).outcome, Outcome::kNotSupported);
}

// Oracle: errors a decade apart, four comparisons; one of the rivals was made better.
TEST_F(TrainingClaims, CompareEitherPcWithEitherBp) {
  std::vector<json> models{
      trained("bp", "none", errors(-3, 1)), trained("bp", "alpha", errors(-3, 2)),
      trained("pc", "none", errors(-4, 3)), trained("pc", "alpha", errors(-4, 4))};
  write_models("3C-presynaptic", models);
  const auto found = verdict("k", "8 hidden, alpha by x*.x*");
  EXPECT_EQ(found.outcome, Outcome::kSupported) << found.text;
  EXPECT_EQ(found.comparisons.size(), 4U);
  models[1] = trained("bp", "alpha", errors(-5, 2));
  write_models("3C-presynaptic", models);
  const auto lost = verdict("k", "8 hidden, alpha by x*.x*");
  EXPECT_EQ(lost.outcome, Outcome::kNotSupported);
  EXPECT_NE(lost.text.find("2 of 4"), std::string::npos) << lost.text;
}

// Oracle: areas in the claimed order, then with the last two swapped.
TEST_F(TrainingClaims, OrderModelsBySpeed) {
  const auto at = [](const char* rule, const char* rescaling, double area) {
    return trained(rule, rescaling, {1, 1, 1}, {area, area + 0.01, area - 0.02});
  };
  write_models("4D", {at("pc", "decorrelation", -5), at("pc", "none", -4),
                      at("bp", "decorrelation", -3), at("bp", "none", -2)});
  const auto found = verdict("h", "autoencoder, B = 64");
  EXPECT_EQ(found.outcome, Outcome::kSupported) << found.text;
  EXPECT_EQ(found.comparisons.size(), 3U);
  EXPECT_TRUE(has_note(found, "steps to where BP ends: PC + decorrelation 40"));
  write_models("4D", {at("pc", "decorrelation", -5), at("pc", "none", -4),
                      at("bp", "decorrelation", -2), at("bp", "none", -3)});
  EXPECT_EQ(verdict("h", "autoencoder, B = 64").outcome, Outcome::kNotSupported);
}

// Oracle: excess errors a decade apart under raw errors that are equal.
TEST_F(TrainingClaims, PreferExcessErrors) {
  auto bp = trained("bp", "none", {1, 1, 1});
  auto pc = trained("pc", "none", {1, 1, 1});
  bp["width"] = pc["width"] = 15;
  write_models("8-online", {bp, pc});
  const auto raw = verdict("m", "PC against BP, norm-preserving, B = 1");
  EXPECT_EQ(raw.outcome, Outcome::kUndecided);
  EXPECT_TRUE(has_note(raw, "not excess error"));
  bp["final_excess_errors"] = {1e-3, 1e-3, 1e-3};
  pc["final_excess_errors"] = {1e-4, 1e-4, 1e-4};
  write_models("8-online", {bp, pc});
  const auto excess = verdict("m", "PC against BP, norm-preserving, B = 1");
  EXPECT_EQ(excess.outcome, Outcome::kSupported) << excess.text;
  EXPECT_NEAR(excess.effect, 1, 1e-12);
}

}  // namespace
}  // namespace pcxx::reproduce
