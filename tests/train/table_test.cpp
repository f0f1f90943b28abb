#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <pcxx/train/table.h>

#include <limits>

namespace pcxx::train {
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

}  // namespace
}  // namespace pcxx::train
