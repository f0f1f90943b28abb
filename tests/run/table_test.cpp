#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <pcxx/run/table.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace pcxx::run {
namespace {

// Oracle: a table laid out by hand.
TEST(Table, AlignsTheFirstColumnLeftAndTheOthersRight) {
  Table table({"model", "best rate", "error"});
  table.row({"pc + projection", "1", "0.0123"}).row({"bp", "0.001", "-"});
  EXPECT_EQ(table.text(),
            "model            best rate   error\n"
            "pc + projection          1  0.0123\n"
            "bp                   0.001       -");
  EXPECT_EQ(Table({"a", "b"}).text(), "a  b");
}

TEST(Table, RefusesARowOfAnotherLength) {
  EXPECT_THROW(Table({"a", "b"}).row({"1"}), c10::Error);
}

// Oracle: C's %.3g, as the header shows it.
TEST(Brief, HasAFewDigits) {
  EXPECT_EQ(brief(0.0123), "0.0123");
  EXPECT_EQ(brief(0.012345678), "0.0123");
  EXPECT_EQ(brief(1.23456e-21), "1.23e-21");
  EXPECT_EQ(brief(1.0), "1");
  EXPECT_EQ(brief(0.1 + 0.2, 6), "0.3");
  EXPECT_EQ(brief(123456.0), "1.23e+05");
  EXPECT_EQ(brief(-2.5), "-2.5");
  EXPECT_EQ(brief(std::numeric_limits<double>::quiet_NaN()), "diverged");
  EXPECT_EQ(brief(std::numeric_limits<double>::infinity()), "diverged");
}

// Oracle: text written by hand. Models with fewer dead units, or none that could be, are left out.
TEST(DeadUnitsLine, NamesTheModelsThatHaveMany) {
  auto models = nlohmann::json::array();
  models.push_back({{"model", "bp"}, {"dead_units", 0.49}});
  models.push_back({{"model", "kpc"}});
  models.push_back({{"model", "none"}, {"dead_units", nullptr}});
  EXPECT_EQ(dead_units_line(models), "");
  models.push_back({{"model", "pc"}, {"dead_units", 0.5}});
  models.push_back({{"model", "pc + alpha"}, {"dead_units", 1.0}});
  EXPECT_EQ(dead_units_line(models),
            "dead hidden units (inactive for every test sample, nothing to learn or to infer): "
            "pc 50 %, pc + alpha 100 %");
}

}  // namespace
}  // namespace pcxx::run
