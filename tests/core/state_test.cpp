#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/core/state.h>

namespace pcxx {
namespace {

// Invariant: what is put below a name is found there, and a text comes back as it was.
TEST(State, ComesBackFromBelowAName) {
  const State inner{{"a", at::ones({2})}, {"b.c", as_bytes("any \n\0 bytes \xff")}};
  State outer{{"inner", at::zeros({1})}};
  add_below(outer, "inner.", inner);
  EXPECT_EQ(outer.size(), 3U);
  const auto found = entries_below(outer, "inner.");
  ASSERT_EQ(found.size(), inner.size());
  for (const auto& [name, tensor] : inner) EXPECT_TRUE(at::equal(found.at(name), tensor)) << name;
  EXPECT_EQ(text_of_bytes(as_bytes("")), "");
  EXPECT_EQ(text_of_bytes(as_bytes("\xff\n")), "\xff\n");
  EXPECT_THROW(text_of_bytes(at::ones({2})), c10::Error);
}

// Contract: an entry of another kind is refused.
TEST(State, EntriesAreChecked) {
  const State state{{"n", as_count(3)},
                    {"negative", at::scalar_tensor(-1, at::kLong)},
                    {"x", at::ones({2}, at::kDouble)}};
  EXPECT_EQ(count_of(state, "n"), 3);
  EXPECT_THROW(count_of(state, "negative"), c10::Error);
  EXPECT_THROW(count_of(state, "x"), c10::Error);
  EXPECT_THROW(count_of(state, "y"), c10::Error);
  EXPECT_TRUE(at::equal(entry_like(state, "x", at::empty({2}, at::kDouble)), state.at("x")));
  EXPECT_FALSE(entry_like(state, "x", at::empty({2}, at::kDouble)).is_same(state.at("x")));
  EXPECT_THROW(entry_like(state, "x", at::empty({2})), c10::Error);
  EXPECT_THROW(entry_like(state, "x", at::empty({1, 2}, at::kDouble)), c10::Error);
  EXPECT_THROW(entry(state, "y"), c10::Error);
}

}  // namespace
}  // namespace pcxx
