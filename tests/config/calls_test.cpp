#include "config/calls.h"

#include <gtest/gtest.h>
#include <pcxx/config/config.h>

#include "support/user_error.h"

namespace pcxx::config {
namespace {

using test::expect_user_error;

Schema stacked() {
  return Schema({{.name = "layers",
                  .kind = Kind::kText,
                  .initial = R"("")",
                  .doc = "a row of layers",
                  .shape = Shape::kSweep,
                  .per_model = true,
                  .calls = true},
                 {.name = "width", .kind = Kind::kInteger, .initial = "3", .doc = "units"}});
}

std::string read(const std::string& toml) {
  return Config::parse(stacked(), toml, "a.toml").text("layers");
}

// Oracle: the parts as they were written by hand.
TEST(Calls, AreNamesSettingsAndWhatIsInside) {
  const auto calls = parse_calls(" conv(a=1, b = x)\n block(c=2, dense dense(w=3)) out ", "here");
  ASSERT_EQ(calls.size(), 3U);
  using Settings = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(calls[0].name, "conv");
  EXPECT_EQ(calls[0].settings, (Settings{{"a", "1"}, {"b", "x"}}));
  EXPECT_EQ(calls[1].settings, (Settings{{"c", "2"}}));
  ASSERT_EQ(calls[1].inner.size(), 2U);
  EXPECT_EQ(calls[1].inner[1].settings, (Settings{{"w", "3"}}));
  EXPECT_EQ(calls[2].name, "out");
  EXPECT_EQ(calls_text(calls), "conv(a=1, b=x) block(c=2, dense() dense(w=3)) out()");
  EXPECT_EQ(calls_text(parse_calls(calls_text(calls), "here")), calls_text(calls));
  EXPECT_TRUE(parse_calls(" ", "here").empty());
}

// Contract: one sentence that begins with the place.
TEST(Calls, RefuseWhatIsNoRow) {
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "a(";
  for (const std::string text : {"a(", "a)", "a(b", "a(b=)", "a(,)", "a(b=1 c=2)", "=", "a(b=c=d)",
                                 "a[1]", "\"a\"", "a, b", deep.c_str()}) {
    expect_user_error([&] { parse_calls(text, "here"); }, "here: '");
  }
}

// Oracle: the text that the tables stand for.
TEST(Calls, MayBeTables) {
  const auto text =
      "conv(channels=16, relu=true, gain=0.5) block(dense(width=8) dense()) dense(width=10)";
  EXPECT_EQ(read(R"(width = 4
[[layers]]
kind = "conv"
channels = 16
gain = 0.5
relu = true
[[layers]]
kind = "block"
layers = [{ kind = "dense", width = 8 }, { kind = "dense" }]
[[layers]]
kind = "dense"
width = 10
)"),
            "conv(channels=16, gain=0.5, relu=true) block(dense(width=8) dense()) dense(width=10)");
  const auto config = Config::parse(stacked(), std::string("layers = \"") + text + "\"", "a.toml");
  EXPECT_EQ(config.text("layers"), text);
  EXPECT_EQ(Config::parse(stacked(), config.toml(), "b.toml"), config);
}

// Oracle: the values one by one; commas and signs inside belong to the text.
TEST(Calls, AreAssignedAsTheyAreAndSwept) {
  const auto assigned = [](const std::string& text) {
    return Config::parse(stacked(), "", "", {"layers=" + text}).texts("layers");
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(assigned("a(b=1, c=2) d"), (Texts{"a(b=1, c=2) d"}));
  EXPECT_EQ(assigned(R"x(["a(b=1)", "d"])x"), (Texts{"a(b=1)", "d"}));
  EXPECT_EQ(assigned(""
                     "\"\""),
            (Texts{""}));
}

// Contract: the place, and what is wrong there.
TEST(Calls, RefuseTablesThatAreNone) {
  expect_user_error([] { read("[[layers]]\nwidth = 3"); },
                    "a.toml:1:1: layers: table 1 has no kind");
  expect_user_error([] { read("[[layers]]\nkind = \"a\"\nx = [1]"); },
                    "a.toml:3:5: layers: table 1: x = [...] is not one word or number");
  expect_user_error([] { read("[[layers]]\nkind = \"a b\""); },
                    "layers: table 1: kind = \"a b\" is not one word or number");
  expect_user_error([] { read("layers = \"a(\""); }, "a.toml:1:10: layers: 'a('");
  expect_user_error([] { read("[[width]]\nkind = \"a\""); }, "width takes one value");
}

// Oracle: the defaults, and what was set; messages begin with the place.
TEST(Words, SetKeysOfASchema) {
  const auto config = Config::of_words(stacked(), {{"width", "7"}}, "layer 2");
  EXPECT_EQ(config.integer("width"), 7);
  EXPECT_EQ(config.text("layers"), "");
  const auto refused = [](std::vector<std::pair<std::string, std::string>> words,
                          const std::string& text) {
    expect_user_error([&] { Config::of_words(stacked(), words, "layer 2"); }, text);
  };
  refused({{"widht", "7"}}, "layer 2: no key is called 'widht'; did you mean 'width'?");
  refused({{"width", "x"}}, "layer 2: width = ");
  refused({{"width", "7"}, {"width", "8"}}, "layer 2: width is set twice");
}

}  // namespace
}  // namespace pcxx::config
