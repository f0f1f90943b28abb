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

// Oracle: a quarter and a whole decade, on either side of the half; a rival that diverged is far
// away.
TEST_F(TrainingClaims, SeeWhetherAlphaHelpsLittle) {
  const auto plain = trained("pc", "none", errors(-3, 1));
  write_models("3B", {plain, trained("pc", "alpha", errors(-3.25, 2))});
  EXPECT_EQ(verdict("g", "online, 1 hidden").outcome, Outcome::kSupported);
  for (const double exponent : {-4.0, -2.0}) {
    write_models("3B", {plain, trained("pc", "alpha", errors(exponent, 2))});
    EXPECT_EQ(verdict("g", "online, 1 hidden").outcome, Outcome::kNotSupported) << exponent;
  }
  write_models("3B", {plain, diverged("pc", "alpha")});
  EXPECT_EQ(verdict("g", "online, 1 hidden").outcome, Outcome::kNotSupported);
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
