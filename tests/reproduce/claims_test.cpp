#include <pcxx/core/error.h>

#include <algorithm>
#include <fstream>

#include "made_up_results.h"

namespace pcxx::reproduce {
namespace {

class Claims : public MadeUpResults {};

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

// Oracle: alignments that were made to fall with depth but for one step, by 0.05 up to 4 hidden
// layers and up by 0.01 from there to 8: the slope is down, and the step alone is against it.
TEST_F(Claims, OfATrendAreNotReversedAtAnyStep) {
  const auto write_last_step = [&](double last, double noise) {
    write_alignments("2A", "hidden_layers", {1, 2, 4, 8}, [=](double depth, bool, int s) {
      const double fall = depth == 1 ? 0 : depth == 2 ? -0.05 : depth == 4 ? -0.2 : -0.2 + last;
      return 0.9 + fall + noise * scatter(s, static_cast<int>(depth));
    });
  };
  write_last_step(0.01, 1e-4);
  const auto found = verdict("c", "Kaiming, depth, B = 1");
  EXPECT_EQ(found.outcome, Outcome::kNotSupported) << found.text;
  EXPECT_NE(found.text.find("hidden layers 4 to 8"), std::string::npos) << found.text;
  ASSERT_EQ(found.comparisons.size(), 4U);
  EXPECT_GT(found.effect, 0);
  EXPECT_LT(found.comparisons[0].p, 1e-6);
  // A step that is lost in the scatter is no reversal, and leaves nothing open.
  write_last_step(0.001, 1e-2);
  EXPECT_EQ(verdict("c", "Kaiming, depth, B = 1").outcome, Outcome::kSupported);
}

// Oracle: 0.95 at every width, then falling by 0.02 a doubling; BP's 0.04 makes the lead larger
// when wide. A change of 0.02 at the last doubling alone is one.
TEST_F(Claims, SeeWhetherTheWidthMatters) {
  const auto with_slope = [](double pc_slope) {
    return [=](double width, bool pc, int s) {
      return 0.98 - (pc ? pc_slope : 0.04) * (std::log2(width) - 7) + 0.001 * scatter(s, pc);
    };
  };
  write_alignments("2D", "width", {128, 256, 512}, with_slope(0));
  EXPECT_EQ(verdict("b", "norm-preserving, width, B = 1").outcome, Outcome::kSupported);
  const auto flat = verdict("b", "norm-preserving, width, B = 1, change");
  EXPECT_EQ(flat.outcome, Outcome::kSupported) << flat.text;
  EXPECT_EQ(flat.comparisons.size(), 2U);
  EXPECT_EQ(verdict("j", "norm-preserving, width, B = 1").outcome, Outcome::kNotSupported);
  write_alignments("2D", "width", {128, 256, 512}, with_slope(0.02));
  EXPECT_EQ(verdict("b", "norm-preserving, width, B = 1, change").outcome, Outcome::kNotSupported);
  write_alignments("2D", "width", {128, 256, 512}, [](double width, bool pc, int s) {
    return 0.98 - (width == 512 ? 0.02 : 0) + 0.001 * scatter(s, pc);
  });
  const auto once = verdict("b", "norm-preserving, width, B = 1, change");
  EXPECT_EQ(once.outcome, Outcome::kNotSupported);
  EXPECT_NE(once.text.find("width 256 to 512"), std::string::npos) << once.text;
}

// Oracle: norm-preserving weights were made better by 0.1 in two panels, then in one of them worse.
TEST_F(Claims, CompareTwoPanels) {
  const auto write_with_init = [&](const char* id, const char* init, double level) {
    auto cells = json::array();
    for (const char* rule : {"bp", "pc"}) {
      json values;
      for (int s = 0; s < 10; ++s) values.push_back(level + 0.01 * scatter(s, 1));
      cells.push_back({{"rule", rule},
                       {"rescaling", "none"},
                       {"init", init},
                       {"batch_size", 1},
                       {"hidden_layers", 4},
                       {"target_alignment", {{"values", values}}}});
    }
    write(id, {{"cells", cells}});
  };
  write_with_init("2A", "kaiming", 0.7);
  EXPECT_EQ(verdict("q", "PC, depth, B = 1").outcome, Outcome::kNotRun);
  write_with_init("2C", "norm_preserving", 0.8);
  const auto found = verdict("q", "PC, depth, B = 1");
  EXPECT_EQ(found.outcome, Outcome::kSupported) << found.text;
  EXPECT_EQ(found.comparisons.size(), 1U);
  EXPECT_NEAR(found.effect, 0.1, 1e-12);
  write_with_init("2C", "norm_preserving", 0.6);
  EXPECT_EQ(verdict("q", "PC, depth, B = 1").outcome, Outcome::kNotSupported);
}

// Oracle: lengths over the straight distance, as written.
TEST_F(Claims, SeeTheShorterWay) {
  const auto way = [&](double bp, double pc) {
    write("1B", {{"models",
                  {{{"rule", "bp"}, {"rescaling", "none"}, {"path_excess", bp}},
                   {{"rule", "pc"}, {"rescaling", "none"}, {"path_excess", pc}}}}});
    return verdict("t", "1-1-2");
  };
  EXPECT_EQ(way(1.13, 1.04).outcome, Outcome::kSupported);
  EXPECT_NEAR(way(1.13, 1.04).effect, 0.09, 1e-12);
  EXPECT_EQ(way(1.04, 1.13).outcome, Outcome::kNotSupported);
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
  EXPECT_EQ(letters, "abcdefghijklmnopqrst");
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
