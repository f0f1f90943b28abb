#include "reproduce/claims.h"

#include <gtest/gtest.h>
#include <pcxx/core/error.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <random>
#include <stdexcept>

#include "support/temporary_folder.h"

namespace pcxx::reproduce {
namespace {

using nlohmann::json;

// Between -1 and 1, the same in every run of the test.
double scatter(int seed, int stream) {
  std::mt19937 engine(static_cast<unsigned>(1000 * stream + seed));
  return 2 * static_cast<double>(engine()) / std::mt19937::max() - 1;
}

// A reproduction whose truth is known, since it was made up.
class Claims : public testing::Test {
 protected:
  using Alignment = std::function<double(double key, bool pc, int seed)>;

  void write(const std::string& id, const json& summary) const {
    std::filesystem::create_directories(folder_ / "panels" / id);
    std::ofstream(folder_ / "panels" / id / "summary.json") << summary;
  }

  // Figure 2 at both batch sizes: `key` over its values.
  void write_alignments(const std::string& id, const std::string& key,
                        const std::vector<double>& values, const Alignment& alignment,
                        int seeds = 10) const {
    auto cells = json::array();
    for (const int batch : {1, 128}) {
      for (const double value : values) {
        for (const bool pc : {false, true}) {
          auto list = json::array();
          for (int s = 0; s < seeds; ++s) {
            const double found = alignment(value, pc, s);
            list.push_back(std::isfinite(found) ? json(found) : json(nullptr));
          }
          cells.push_back({{"rule", pc ? "pc" : "bp"},
                           {"rescaling", "none"},
                           {key, value},
                           {"batch_size", batch},
                           {"target_alignment", {{"values", list}}}});
        }
      }
    }
    write(id, {{"cells", cells}});
  }

  static json trained(const std::string& rule, const std::string& rescaling,
                      const std::vector<double>& errors, const std::vector<double>& areas = {}) {
    return {{"rule", rule},           {"rescaling", rescaling},
            {"best_rate", 0.1},       {"best_rate_at_edge", "none"},
            {"final_errors", errors}, {"log_areas", areas},
            {"steps_to_plain_bp", 40}};
  }

  static json diverged(const std::string& rule, const std::string& rescaling = "none") {
    return {{"rule", rule}, {"rescaling", rescaling}, {"best_rate", nullptr}};
  }

  void write_models(const std::string& id, const std::vector<json>& models) const {
    write(id, {{"models", models}});
  }

  // Errors of ten seeds about 10^exponent.
  static std::vector<double> errors(double exponent, int stream) {
    std::vector<double> result;
    for (int s = 0; s < 10; ++s)
      result.push_back(std::pow(10, exponent + 0.1 * scatter(s, stream)));
    return result;
  }

  Verdict verdict(const std::string& claim, const std::string& reading) const {
    for (auto& found : judge(Results(folder_.path()))) {
      if (found.claim == claim && found.reading == reading) return found;
    }
    throw std::invalid_argument("no reading " + reading + " of claim " + claim);
  }

  static bool has_note(const Verdict& verdict, const std::string& part) {
    for (const auto& note : verdict.notes) {
      if (note.find(part) != std::string::npos) return true;
    }
    return false;
  }

 private:
  test::TemporaryFolder folder_;
};

// Oracle: PC was made 0.1 better at every depth; the mean of its scatter is added by hand.
TEST_F(Claims, AreSupportedWhereEveryCellIs) {
  double mean = 0;
  for (int s = 0; s < 10; ++s) mean += (0.1 + 0.01 * scatter(s, 2)) / 10;
  write_alignments("2A", "hidden_layers", {1, 2, 8}, [](double, bool pc, int s) {
    return 0.7 + 0.05 * scatter(s, 1) + (pc ? 0.1 + 0.01 * scatter(s, 2) : 0);
  });
  const auto found = verdict("a", "Kaiming, depth, B = 1");
  EXPECT_EQ(found.outcome, Outcome::kSupported) << found.text;
  EXPECT_EQ(found.comparisons.size(), 3U);
  EXPECT_NEAR(found.effect, mean, 1e-12);
  EXPECT_LT(found.low, mean);
  EXPECT_GT(found.high, mean);
  EXPECT_EQ(found.unit, "TA difference");
  EXPECT_GT(found.p_corrected, found.p);
}

// Oracle: PC was made worse at 8 hidden layers only.
TEST_F(Claims, AreNotSupportedWhereOneCellIsReversed) {
  write_alignments("2A", "hidden_layers", {1, 8}, [](double depth, bool pc, int s) {
    return 0.7 + (pc ? (depth == 8 ? -0.1 : 0.1) + 0.01 * scatter(s, 2) : 0);
  });
  const auto found = verdict("a", "Kaiming, depth, B = 128");
  EXPECT_EQ(found.outcome, Outcome::kNotSupported);
  EXPECT_NE(found.text.find("hidden layers 8"), std::string::npos) << found.text;
  EXPECT_EQ(found.text.find("hidden layers 1:"), std::string::npos) << found.text;
  EXPECT_NEAR(found.effect, -0.1, 0.01);
}

// Oracle: nothing but scatter at 8 hidden layers; the p of an intersection is its largest.
TEST_F(Claims, AreUndecidedWhereOneCellIs) {
  write_alignments("2A", "hidden_layers", {1, 8}, [](double depth, bool pc, int s) {
    return 0.7 + (pc ? (depth == 8 ? 0.002 * scatter(s, 3) : 0.1 + 0.001 * scatter(s, 3)) : 0);
  });
  const auto found = verdict("a", "Kaiming, depth, B = 1");
  EXPECT_EQ(found.outcome, Outcome::kUndecided);
  EXPECT_NE(found.text.find("hidden layers 8"), std::string::npos) << found.text;
  EXPECT_EQ(found.text.find("hidden layers 1:"), std::string::npos) << found.text;
  EXPECT_EQ(found.p, std::max(found.comparisons[0].p, found.comparisons[1].p));
}

// Oracle: by hand, 10 differences -0.858 +- 1 in turn have t = -2.574, two-sided p 0.030: below
// 0.05 alone, not below 0.05 / 2 beside a second cell.
TEST_F(Claims, AreReversedOnlyBeyondTheNumberOfCells) {
  const Alignment worse_at_8 = [](double depth, bool pc, int s) {
    if (!pc) return 0.7;
    return 0.7 + 0.01 * (depth == 8 ? -0.858 + (s % 2 == 0 ? 1 : -1) : 5 + scatter(s, 1));
  };
  write_alignments("2A", "hidden_layers", {8}, worse_at_8);
  const auto alone = verdict("a", "Kaiming, depth, B = 1");
  EXPECT_NEAR(alone.comparisons[0].p_reversed, 0.030, 0.001);
  EXPECT_EQ(alone.outcome, Outcome::kNotSupported);
  write_alignments("2A", "hidden_layers", {1, 8}, worse_at_8);
  EXPECT_EQ(verdict("a", "Kaiming, depth, B = 1").outcome, Outcome::kUndecided);
}

// Oracle: the alignments were made to fall by 0.02 a layer and to scatter in proportion to depth.
TEST_F(Claims, SeeSlopesAndScatter) {
  write_alignments("2A", "hidden_layers", {1, 2, 4, 8}, [](double depth, bool pc, int s) {
    return 0.9 - (pc ? 0.02 : 0.05) * depth + 0.004 * depth * scatter(s, pc ? 1 : 2);
  });
  const auto falls = verdict("c", "Kaiming, depth, B = 1");
  EXPECT_EQ(falls.outcome, Outcome::kSupported) << falls.text;
  EXPECT_NEAR(falls.effect, 0.02, 0.002);
  EXPECT_EQ(verdict("c", "Kaiming, depth, B = 1, scatter").outcome, Outcome::kSupported);
  const auto gap = verdict("j", "Kaiming, depth, B = 1");
  EXPECT_EQ(gap.outcome, Outcome::kSupported) << gap.text;
  EXPECT_NEAR(gap.effect, 0.03, 0.004);
}

// Oracle: 0.95 at every width, then falling by 0.02 a doubling; BP's 0.04 makes the lead larger
// when wide.
TEST_F(Claims, SeeWhetherTheWidthMatters) {
  const auto with_slope = [](double pc_slope) {
    return [=](double width, bool pc, int s) {
      return 0.98 - (pc ? pc_slope : 0.04) * (std::log2(width) - 7) + 0.001 * scatter(s, pc);
    };
  };
  write_alignments("2D", "width", {128, 256, 512}, with_slope(0));
  EXPECT_EQ(verdict("b", "norm-preserving, width, B = 1").outcome, Outcome::kSupported);
  EXPECT_EQ(verdict("b", "norm-preserving, width, B = 1, slope").outcome, Outcome::kSupported);
  EXPECT_EQ(verdict("j", "norm-preserving, width, B = 1").outcome, Outcome::kNotSupported);
  write_alignments("2D", "width", {128, 256, 512}, with_slope(0.02));
  EXPECT_EQ(verdict("b", "norm-preserving, width, B = 1, slope").outcome, Outcome::kNotSupported);
}

// Oracle: 1e-7 and 1e-5 from 1, on either side of the 1e-6 of the header; no p without a test.
TEST_F(Claims, CheckExactness) {
  const auto panel = [&](double pc, double bp) {
    auto cells = json::array();
    for (const double condition : {1.0, 10.0}) {
      const double offset = condition > 1 ? 1 : 0;
      cells.push_back({{"rule", "pc"},
                       {"rescaling", "alpha"},
                       {"condition_number", condition},
                       {"target_alignment", {{"values", {1, 1 - pc * offset}}}},
                       {"batch_alignment", {{"values", {1, 1}}}}});
      cells.push_back({{"rule", "bp"},
                       {"rescaling", "alpha"},
                       {"condition_number", condition},
                       {"target_alignment", {{"values", {1, 1 - bp * offset, 1 - bp * offset}}}}});
    }
    write("3A", {{"cells", cells}});
  };
  panel(1e-7, 0.1);
  const auto holds = verdict("e", "PC + alpha");
  EXPECT_EQ(holds.outcome, Outcome::kSupported) << holds.text;
  EXPECT_NEAR(holds.effect, 1e-7, 1e-12);
  EXPECT_TRUE(std::isnan(holds.p));
  EXPECT_EQ(verdict("e", "BP + alpha, condition number 1").outcome, Outcome::kSupported);
  EXPECT_EQ(verdict("e", "BP + alpha, condition number 2 and more").comparisons.size(), 1U);
  EXPECT_EQ(verdict("o", "alpha, condition number").comparisons.size(), 4U);
  panel(1e-5, 0.1);
  const auto fails = verdict("e", "PC + alpha");
  EXPECT_EQ(fails.outcome, Outcome::kNotSupported);
  EXPECT_NE(fails.text.find("condition number 10"), std::string::npos) << fails.text;
}

// Oracle: by hand, the mirror image has one-sided p 0.015, too much beside three more such claims.
TEST_F(Claims, AreCorrectedForTheirNumber) {
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
TEST_F(Claims, CompareFinalErrorsInDecades) {
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
TEST_F(Claims, TieErrorsAtTheFloor) {
  write_models("2E", {trained("bp", "none", {1e-29, 1e-30, 3e-29}),
                      trained("pc", "none", {1e-31, 0, 1e-32})});
  const auto found = verdict("d", "Kaiming, 1 hidden");
  EXPECT_EQ(found.outcome, Outcome::kUndecided);
  EXPECT_EQ(found.effect, 0);
  EXPECT_EQ(found.p, 1);
  EXPECT_TRUE(has_note(found, "3 of 3 seeds tied"));
}

// Oracle: against a finite rival divergence loses, without a number; both diverged decide nothing.
TEST_F(Claims, JudgeDivergence) {
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
TEST_F(Claims, NoteRatesAtTheEdge) {
  auto bp = trained("bp", "none", errors(-3, 1));
  bp["best_rate_at_edge"] = "high";
  write_models("2F", {bp, trained("pc", "none", errors(-5, 2))});
  const auto found = verdict("d", "Kaiming, 8 hidden");
  EXPECT_EQ(found.outcome, Outcome::kSupported);
  EXPECT_TRUE(has_note(found, "BP: best rate at the high edge"));
}

// Oracle: a quarter and a whole decade, on either side of the half; a rival that diverged is far
// away.
TEST_F(Claims, SeeWhetherAlphaHelpsLittle) {
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
TEST_F(Claims, OrderModelsBySpeed) {
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
TEST_F(Claims, PreferExcessErrors) {
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

// Oracle: nothing was written, one seed was written, a rival was not, a seed is not finite.
TEST_F(Claims, SayWhatIsMissing) {
  const auto absent = verdict("a", "Kaiming, depth, B = 1");
  EXPECT_EQ(absent.outcome, Outcome::kNotRun);
  EXPECT_NE(absent.text.find("panel 2A has not run"), std::string::npos) << absent.text;
  const Alignment lead = [](double, bool pc, int s) {
    return s == 1 ? kNone : (pc ? 0.9 : 0.5) + 0.01 * scatter(s, pc);
  };
  write_alignments("2A", "hidden_layers", {1, 2}, lead, 1);
  const auto one_seed = verdict("a", "Kaiming, depth, B = 1");
  EXPECT_EQ(one_seed.outcome, Outcome::kUndecided);
  EXPECT_TRUE(has_note(one_seed, "fewer than two seeds"));
  write_alignments("2A", "hidden_layers", {1, 2}, lead, 10);
  const auto not_finite = verdict("a", "Kaiming, depth, B = 1");
  EXPECT_EQ(not_finite.outcome, Outcome::kSupported) << not_finite.text;
  EXPECT_TRUE(has_note(not_finite, "1 of 10 seeds without a value"));
  write_models("2E", {trained("pc", "none", errors(-3, 1))});
  EXPECT_EQ(verdict("d", "Kaiming, 1 hidden").outcome, Outcome::kUndecided);
}

// Oracle: the letters of the paper's list, each once or more and in order, readings all different.
TEST_F(Claims, AreAllThere) {
  std::string letters;
  std::vector<std::string> names;
  for (const auto& found : judge(Results("/nonexistent"))) {
    if (letters.empty() || letters.back() != found.claim.front()) letters += found.claim;
    names.push_back(found.claim + found.reading);
    EXPECT_EQ(found.outcome, Outcome::kNotRun);
  }
  EXPECT_EQ(letters, "abcdefghijklmno");
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

// Oracle: the fields of the header, and null for what is not a number.
TEST_F(Claims, AreWrittenAsJson) {
  write_models("2H", {diverged("bp"), trained("pc", "none", errors(-3, 1))});
  const auto found = to_json(verdict("d", "norm-preserving, 8 hidden"));
  EXPECT_EQ(found["outcome"], "supported");
  EXPECT_EQ(found["claim"], "d");
  EXPECT_TRUE(found["effect"].is_null());
  EXPECT_EQ(found["comparisons"][0]["what"], "PC against BP");
  EXPECT_EQ(found["comparisons"][0]["direction"], "holds");
}

// Oracle: the path, in a sentence for the user.
TEST_F(Claims, NameASummaryThatIsBroken) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "panels" / "5");
  std::ofstream(folder / "panels" / "5" / "summary.json") << "{\"cells\": [";
  EXPECT_THROW(judge(Results(folder.path())), UserError);
}

}  // namespace
}  // namespace pcxx::reproduce
