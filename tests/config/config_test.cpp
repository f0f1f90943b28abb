#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/model.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/config/config.h>
#include <pcxx/core/files.h>
#include <sys/stat.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::config {
namespace {

using test::user_error_text;
using Texts = std::vector<std::string>;
using Integers = std::vector<std::int64_t>;
using Reals = std::vector<double>;

Schema schema() {
  auto keys =
      catalog::schema({"rule", "rescaling", "learning_rate", "regularisation", "optimizer", "init",
                       "hidden_layers", "width", "widths", "condition_number", "bias", "batch_size",
                       "steps", "noise", "seeds", "data", "forgetting", "samples"});
  keys.initial("width", "20").initial("learning_rate", "0.1").one({"batch_size"});
  keys.add({.name = "measure",
            .kind = Kind::kText,
            .initial = "[]",
            .doc = "what to record",
            .shape = Shape::kList,
            .choices = {"target_alignment", "excess_map_error"}});
  return keys;
}

Config assigned(const Texts& assignments) {
  return Config::read(schema(), std::nullopt, assignments);
}

// Files of a test, in a folder of its own.
class ConfigFile : public testing::Test {
 protected:
  Config read(const std::string& text, const Texts& assignments = {}) {
    write_file(path(), text);
    return Config::read(schema(), path(), assignments);
  }
  std::filesystem::path path() const { return folder_ / "quick.toml"; }

  // The sentence that refuses this file has all these parts.
  void refuses(const std::string& text, const Texts& parts) {
    const auto error = user_error_text([&] { read(text); });
    ASSERT_TRUE(error) << "accepted: " << text;
    for (const auto& part : parts) EXPECT_NE(error->find(part), std::string::npos) << *error;
  }

  test::TemporaryFolder folder_;
};

// The sentence that refuses this assignment has the assignment itself and all these parts.
void refuses(const std::string& assignment, const Texts& parts) {
  const auto error = user_error_text([&] { assigned({assignment}); });
  ASSERT_TRUE(error) << "accepted: " << assignment;
  EXPECT_TRUE(error->starts_with("--set " + assignment + ": ")) << *error;
  for (const auto& part : parts) EXPECT_NE(error->find(part), std::string::npos) << *error;
}

// --- values
// ---------------------------------------------------------------------------------------

TEST_F(ConfigFile, HasTheSchemasDefaultsWhereNothingIsSet) {
  const auto config = read("");
  EXPECT_EQ(config, Config(schema()));
  EXPECT_EQ(config.integer("width"), 20);
  EXPECT_EQ(config.reals("learning_rate"), Reals{0.1});
  EXPECT_EQ(config.text("data"), "");
}

// Contract: a key's old name is the key, with one note; both names at once are refused.
TEST(OldNames, AreTakenWithANote) {
  Schema schema(
      {{.name = "prior_scale", .kind = Kind::kReal, .initial = "1", .old_name = "delta"}});
  testing::internal::CaptureStderr();
  const auto config = Config::parse(schema, "delta = 3\n", "a.toml");
  EXPECT_EQ(config.real("prior_scale"), 3);
  EXPECT_FALSE(config.has("delta"));
  EXPECT_EQ(Config::parse(schema, "delta = 4\n", "a.toml").real("prior_scale"), 4);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "note: the key 'delta' is called 'prior_scale' now, and the next release takes that "
            "alone\n");
  const auto error =
      user_error_text([&] { Config::parse(schema, "prior_scale = 2\ndelta = 3\n", "a.toml"); });
  EXPECT_EQ(error, "a.toml:2:1: prior_scale is set twice, as delta too");
  Schema of_models({{.name = "prior_scale",
                     .kind = Kind::kReal,
                     .initial = "1",
                     .per_model = true,
                     .old_name = "delta"}});
  const auto in_a_model = user_error_text(
      [&] { Config::parse(of_models, "[[models]]\ndelta = 3\nprior_scale = 2\n", "a.toml"); });
  EXPECT_EQ(in_a_model, "a.toml:2:1: prior_scale is set twice, as delta too");
}

// Invariant: defaults < file < assignments, and the later assignment wins.
TEST_F(ConfigFile, PrecedenceIsDefaultsFileAssignments) {
  const std::string file = "width = 30\nsteps = 7\n";
  const auto config = read(file, {"steps=8", "noise=0.5", "steps=9"});
  EXPECT_EQ(config.integer("width"), 30);
  EXPECT_EQ(config.integer("steps"), 9);
  EXPECT_EQ(config.real("noise"), 0.5);
  EXPECT_EQ(config.integer("hidden_layers"), 1);
}

TEST_F(ConfigFile, ReadsEveryKindAndShape) {
  const auto config = read(R"(
bias = true
noise = 1
steps = 1_000
init = ["kaiming", 'orthogonal']
widths = [784, 128, 32, 128, 784]
seeds = [3, 1]
data = "C:\\data"
measure = ["target_alignment"]
)");
  EXPECT_TRUE(config.boolean("bias"));
  EXPECT_EQ(config.real("noise"), 1.0);
  EXPECT_EQ(config.integer("steps"), 1000);
  EXPECT_EQ(config.texts("init"), (Texts{"kaiming", "orthogonal"}));
  EXPECT_EQ(config.integers("widths"), (Integers{784, 128, 32, 128, 784}));
  EXPECT_EQ(config.integers("seeds"), (Integers{3, 1}));
  EXPECT_EQ(config.text("data"), "C:\\data");
  EXPECT_EQ(config.texts("measure"), Texts{"target_alignment"});
}

TEST(Assignment, TakesAnyTomlValueAndBareWords) {
  EXPECT_EQ(assigned({"rule=pc"}).text("rule"), "pc");
  EXPECT_EQ(assigned({"rule=\"pc\""}).text("rule"), "pc");
  EXPECT_EQ(assigned({"rule='pc'"}).text("rule"), "pc");
  EXPECT_EQ(assigned({" rule = pc "}).text("rule"), "pc");
  EXPECT_EQ(assigned({"rule=[bp,pc]"}).texts("rule"), (Texts{"bp", "pc"}));
  EXPECT_EQ(assigned({"rule=[ bp , 'pc' ]"}).texts("rule"), (Texts{"bp", "pc"}));
  EXPECT_EQ(assigned({"rule=[pc,]"}).texts("rule"), Texts{"pc"});
  EXPECT_EQ(assigned({"bias=true"}).boolean("bias"), true);
  EXPECT_EQ(assigned({"learning_rate=1e-3"}).real("learning_rate"), 1e-3);
  EXPECT_EQ(assigned({"learning_rate=[1,+2e0,3.5]"}).reals("learning_rate"), (Reals{1, 2, 3.5}));
  EXPECT_EQ(assigned({"width=0x10"}).integer("width"), 16);
  EXPECT_EQ(assigned({"measure=excess_map_error"}).texts("measure"), Texts{"excess_map_error"});
  EXPECT_TRUE(assigned({"measure=[]"}).texts("measure").empty());
}

// Oracle: the numbers. People write .5, 1. and 1e3, and a whole number may have a zero behind the
// dot, in a file too.
TEST(Assignment, TakesNumbersAsPeopleWriteThem) {
  EXPECT_EQ(assigned({"learning_rate=.1"}).real("learning_rate"), 0.1);
  EXPECT_EQ(assigned({"learning_rate=[1.,+.5,2.e-1,.5e1]"}).reals("learning_rate"),
            (Reals{1, 0.5, 0.2, 5}));
  EXPECT_EQ(assigned({"learning_rate={from=.1,to=1.,points=1e1}"}).reals("learning_rate").size(),
            10U);
  for (const std::string thousand : {"1e3", "1000.0", "1000.", "1_000", "+1e+3", "0.1e4"}) {
    const auto config = assigned({"steps=" + thousand, "width=[" + thousand + "]"});
    EXPECT_EQ(config.integer("steps"), 1000) << thousand;
    EXPECT_EQ(config.integer("width"), 1000) << thousand;
    EXPECT_EQ(config.toml_of("steps"), "1000");
  }
  EXPECT_EQ(assigned({"seeds=1e1"}).integers("seeds").size(), 10U);
  EXPECT_EQ(Config::parse(schema(), "steps = 1e3\nwidths = [2.0, 3]\n", "text").integers("widths"),
            (Integers{2, 3}));
  EXPECT_EQ(assigned({"data=.5"}).text("data"), ".5") << "a text stays one";
}

// Oracle: the text itself. A key that admits any text takes what was typed, as --data DIR needs.
TEST(Assignment, TakesPathsAsTheyAre) {
  for (const std::string path : {"/data/my images, new [2]", "a=b", "5", "true", "C:\\data\\{x}",
                                 "it's", "#1", "", "naïve", "a\tb"}) {
    EXPECT_EQ(assigned({"data=" + path}).text("data"), path);
  }
  EXPECT_EQ(assigned({"data=\"a\\tb\""}).text("data"), "a\tb");
  EXPECT_EQ(assigned({"data='a b'"}).text("data"), "a b");
}

// Oracle: powers of ten; the same log-spaced range of numpy.geomspace.
TEST(Range, IsSpacedInTheLogarithm) {
  const auto rates = assigned({"learning_rate={from=1e-3,to=1,points=4,scale=log}"});
  EXPECT_EQ(rates.reals("learning_rate"), (Reals{1e-3, 1e-2, 1e-1, 1}));
  const auto unsaid = assigned({"learning_rate={from=1e-3,to=1,points=4}"});
  EXPECT_EQ(unsaid, rates);
  const auto other = assigned({"learning_rate={from=0.3,to=5,points=3}"}).reals("learning_rate");
  EXPECT_EQ(other.front(), 0.3);
  EXPECT_NEAR(other[1], std::sqrt(0.3 * 5), 1e-15);
  EXPECT_EQ(other.back(), 5);
}

TEST(Range, IsSpacedLinearly) {
  EXPECT_EQ(assigned({"learning_rate={from=1,to=2,points=5,scale=linear}"}).reals("learning_rate"),
            (Reals{1, 1.25, 1.5, 1.75, 2}));
  EXPECT_EQ(
      assigned({"hidden_layers={from=0,to=8,points=9,scale=linear}"}).integers("hidden_layers"),
      (Integers{0, 1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(Range, OfWholeNumbersIsRounded) {
  EXPECT_EQ(assigned({"width={from=15,to=240,points=5}"}).integers("width"),
            (Integers{15, 30, 60, 120, 240}));
  EXPECT_EQ(assigned({"width={from=1,to=10,points=3}"}).integers("width"), (Integers{1, 3, 10}));
}

TEST(Seeds, AreAListARangeOrACount) {
  EXPECT_EQ(assigned({"seeds=3"}).integers("seeds"), (Integers{0, 1, 2}));
  EXPECT_EQ(assigned({"seeds=[7]"}).integers("seeds"), Integers{7});
  EXPECT_EQ(assigned({"seeds={from=4,to=6}"}).integers("seeds"), (Integers{4, 5, 6}));
  EXPECT_EQ(assigned({"seeds={from=4,to=4}"}).integers("seeds"), Integers{4});
}

TEST(Config, ValuesAreReadAsTheirKindAlone) {
  const Config config(schema());
  EXPECT_THROW(config.integer("noise"), c10::Error);
  EXPECT_THROW(config.real("width"), c10::Error);
  EXPECT_THROW(config.text("bias"), c10::Error);
  EXPECT_THROW(config.reals("width"), c10::Error);
  EXPECT_THROW(config.text("rule"), c10::Error) << "two values";
  EXPECT_THROW(config.integer("widths"), c10::Error) << "no value";
  EXPECT_THROW(config.integer("no_such_key"), c10::Error);
  EXPECT_THROW(config.values("no_such_key"), c10::Error);
  EXPECT_THROW(config.swept("no_such_key"), c10::Error);
  EXPECT_FALSE(config.has("no_such_key"));
  EXPECT_TRUE(config.has("device"));
}

TEST(Config, RefusesASchemaWhoseDefaultItDoesNotAdmit) {
  EXPECT_THROW(Config(catalog::schema({"rule"}).one({"rule"})), c10::Error);
  EXPECT_THROW(Config(catalog::schema({"rule"}).choices("rule", {"bp"})), c10::Error);
  EXPECT_THROW(Config(catalog::schema({"width"}).initial("width", "wide")), c10::Error);
}

TEST(Config, KnowsWhatIsSwept) {
  const auto config = assigned({"learning_rate=[0.1,0.2]", "widths=[3,4]"});
  EXPECT_TRUE(config.swept("rule"));
  EXPECT_TRUE(config.swept("learning_rate"));
  EXPECT_FALSE(config.swept("width"));
  EXPECT_FALSE(config.swept("widths")) << "a list that is one value";
  EXPECT_FALSE(config.swept("seeds"));
}

// --- with, grid, models
// ---------------------------------------------------------------------------

TEST(With, ReplacesOneKeyAndChecksIt) {
  const Config config(schema());
  const auto other = config.with("learning_rate", {std::int64_t{1}, 0.5});
  EXPECT_EQ(other.reals("learning_rate"), (Reals{1, 0.5}));
  EXPECT_EQ(config.real("learning_rate"), 0.1);
  EXPECT_EQ(config.with_toml("learning_rate", "[1, 0.5]"), other);
  EXPECT_EQ(config.with("seeds", {std::int64_t{4}}).integers("seeds"), Integers{4});
  EXPECT_EQ(config.with("data", {std::string("a \"b\"")}).text("data"), "a \"b\"");
  EXPECT_EQ(config.with("measure", {}).texts("measure"), Texts{});
  EXPECT_EQ(config.with_toml("seeds", "2").integers("seeds"), (Integers{0, 1}));
}

TEST(With, RefusesWhatAUserMayNotSetEither) {
  const Config config(schema());
  const auto refuse = [&](const char* name, std::vector<Value> values, const std::string& part) {
    test::expect_user_error([&] { config.with(name, values); }, part);
  };
  refuse("learning_rate", {-1.0}, "learning_rate = -1.0 is out of range: it must be above 0");
  refuse("learning_rate", {}, "learning_rate is an empty list");
  refuse("learning_rate", {std::string("a")}, "learning_rate = \"a\" is not a number");
  refuse("width", {1.5}, "width = 1.5 is not a whole number");
  refuse("rule", {std::string("sgd")}, "rule = \"sgd\" is not one of bp, pc");
  refuse("rule", {std::string("bp"), std::string("bp")}, "rule has \"bp\" twice");
  refuse("samples", {std::int64_t{1}, std::int64_t{2}}, "samples takes one value, not 2");
  test::expect_user_error([&] { config.with_toml("rule", "[\"bp\""); },
                          "rule = [\"bp\": not valid");
  EXPECT_THROW(config.with("no_such_key", {1.0}), c10::Error);
  EXPECT_THROW(config.with_toml("no_such_key", "1"), c10::Error);
}

// Oracle: nested loops.
TEST(Grid, LastKeyVariesFastest) {
  const auto config = assigned({"width=[2,3]", "init=[kaiming,lecun]", "hidden_layers=[1,2,4]"});
  const auto cells = config.grid({"init", "width", "steps", "hidden_layers"});
  std::size_t next = 0;
  for (const char* init : {"kaiming", "lecun"}) {
    for (const std::int64_t width : {2, 3}) {
      for (const std::int64_t hidden : {1, 2, 4}) {
        ASSERT_LT(next, cells.size());
        EXPECT_EQ(cells[next].text("init"), init);
        EXPECT_EQ(cells[next].integer("width"), width);
        EXPECT_EQ(cells[next].integer("hidden_layers"), hidden);
        EXPECT_EQ(cells[next++].texts("rule"), (Texts{"bp", "pc"})) << "not a key of the grid";
      }
    }
  }
  EXPECT_EQ(next, cells.size());
  EXPECT_EQ(config.grid({}), std::vector<Config>{config});
  // The same keys in the schema's order; rules are of the models.
  EXPECT_EQ(config.cells(), config.grid({"init", "hidden_layers", "width"}));
  EXPECT_THROW(config.grid({"no_such_key"}), c10::Error);
}

TEST(Models, OfSharedKeysAreAllRulesWithAllRescalings) {
  const auto models = assigned({"rescaling=[none,alpha]", "learning_rate=[0.1,1]"}).models();
  Texts names;
  for (const auto& model : models) {
    names.push_back(catalog::model_name(model));
    EXPECT_EQ(model.reals("learning_rate"), (Reals{0.1, 1})) << "rates are swept, not models";
  }
  EXPECT_EQ(names, (Texts{"bp", "bp + alpha", "pc", "pc + alpha"}));
}

// Oracle: the tables read by eye.
TEST_F(ConfigFile, ModelsAreTheTablesOverTheSharedKeys) {
  const auto config = read(R"(
width = 30
rescaling = "alpha"
[[models]]
rule = "bp"
[[models]]
rule = ["pc", "bp"]
rescaling = "decorrelation"
regularisation = [1e-3, 1e-2]
learning_rate = { from = 0.1, to = 10, points = 3 }
)");
  EXPECT_TRUE(config.set_by_models("rule"));
  EXPECT_TRUE(config.set_by_models("learning_rate"));
  EXPECT_FALSE(config.set_by_models("width"));
  EXPECT_TRUE(config.swept("learning_rate"));
  EXPECT_TRUE(config.swept("regularisation"));
  EXPECT_FALSE(config.swept("rescaling"));
  const auto models = config.models();
  ASSERT_EQ(models.size(), 5U);
  EXPECT_EQ(catalog::model_name(models[0]), "bp + alpha");
  EXPECT_EQ(models[0].reals("learning_rate"), Reals{0.1});
  for (std::size_t i = 1; i < 5; ++i) {
    EXPECT_EQ(models[i].text("rule"), i < 3 ? "pc" : "bp");
    EXPECT_EQ(models[i].text("rescaling"), "decorrelation");
    EXPECT_EQ(models[i].real("regularisation"), i % 2 == 1 ? 1e-3 : 1e-2);
    EXPECT_EQ(models[i].reals("learning_rate"), (Reals{0.1, 1, 10}));
  }
  for (const auto& model : models) {
    EXPECT_EQ(model.integer("width"), 30);
    EXPECT_FALSE(model.set_by_models("rule"));
    EXPECT_EQ(model.models(), std::vector<Config>{model});
  }
}

TEST_F(ConfigFile, AssignmentsOverrideTheModelsToo) {
  const std::string file =
      "[[models]]\nrule = \"bp\"\nlearning_rate = 0.5\n"
      "[[models]]\nrule = \"pc\"\nlearning_rate = 0.7\nrescaling = \"alpha\"\n";
  for (const auto& model : read(file, {"learning_rate=[1,2]"}).models()) {
    EXPECT_EQ(model.reals("learning_rate"), (Reals{1, 2}));
  }
  const auto same = read(file, {"rule=pc", "learning_rate=1", "rescaling=none"}).models();
  ASSERT_EQ(same.size(), 1U) << "models made equal count once";
  EXPECT_EQ(catalog::model_name(same.front()), "pc");
}

TEST_F(ConfigFile, WithLeavesWhatTheModelsSetThemselves) {
  const auto config =
      read("[[models]]\nrule = \"bp\"\n[[models]]\nrule = \"pc\"\nregularisation = 0.5\n")
          .with("regularisation", {0.25});
  const auto models = config.models();
  ASSERT_EQ(models.size(), 2U);
  EXPECT_EQ(models[0].real("regularisation"), 0.25);
  EXPECT_EQ(models[1].real("regularisation"), 0.5);
}

// Oracle: nested loops.
TEST(Models, AreExpandedByWhateverTheySweep) {
  const auto models = assigned({"rule=pc", "rescaling=recursive_projection", "forgetting=[0.9,1]",
                                "width=[3,4]", "optimizer=[sgd,adam]"})
                          .cells()[1]
                          .models();
  ASSERT_EQ(models.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(models[i].text("optimizer"), i < 2 ? "sgd" : "adam");
    EXPECT_EQ(models[i].real("forgetting"), i % 2 == 0 ? 0.9 : 1);
    EXPECT_EQ(models[i].integer("width"), 4);
  }
}

// Oracle: the keys by hand.
TEST(FirstDifference, NamesTheKey) {
  const auto same = assigned({"width=3"});
  EXPECT_EQ(first_difference(same, assigned({"width=[3]"}), {}), std::nullopt);
  EXPECT_EQ(first_difference(same, assigned({"noise=1", "width=4"}), {}), "width");
  EXPECT_EQ(first_difference(same, assigned({"noise=1", "width=4"}), {"width"}), "noise");
  const auto models = Config::parse(schema(), "width = 3\n[[models]]\nrule = \"bp\"\n", "text");
  EXPECT_EQ(first_difference(same, models, {}), "models");
}

// A schema may have neither rule nor rescaling.
TEST(Models, AreOneWhereNothingTellsThemApart) {
  const Config config{catalog::schema({"width"})};
  EXPECT_EQ(config.models(), std::vector<Config>{config});
}

// --- writing back
// ---------------------------------------------------------------------------------

// Invariant: reading what was written gives an equal config, and writes the same text.
TEST_F(ConfigFile, WhatIsWrittenReadsBackAsTheSame) {
  for (const std::string text :
       {"", "width = [3, 4]\nwidths = [5]\nbias = true\n",
        "learning_rate = { from = 3.1622776601683795e-4, to = 3, points = 100 }\n",
        "learning_rate = [0.1, 1e-7, 1e20, 3]\nnoise = 2\n",
        "hidden_layers = { from = 1, to = 8, points = 8, scale = \"linear\" }\n",
        "seeds = { from = 5, to = 7 }\nmeasure = [\"target_alignment\"]\n", "seeds = [5]\n",
        "data = \"quo\\\"te \\\\ back\\nline \\u007f \\u0001 \\u001f n\u00e4ive\"\n",
        "seeds = 4\n[[models]]\noptimizer = \"rmsprop\"\n[[models]]\nrule = \"pc\"\nrescaling = "
        "[\"none\", \"alpha\"]\n"
        "[[models]]\nlearning_rate = { from = 1e-3, to = 1, points = 5 }\noptimizer = "
        "\"adam\"\n"}) {
    const auto config = read(text);
    const auto written = config.toml();
    const auto again = read(written);
    EXPECT_EQ(again, config) << written;
    EXPECT_EQ(again.toml(), written);
    EXPECT_EQ(again.models(), config.models());
  }
}

TEST_F(ConfigFile, IsWrittenAsAUserWouldWriteIt) {
  const auto written =
      read(
          "data = 'a\"b'\nwidth = [3, 4]\nseeds = 4\nnoise = 1\nsteps = 1\n"
          "learning_rate = { from = 1e-3, to = 1, points = 4 }\n[[models]]\nrule = \"pc\"\n")
          .toml();
  for (const char* line :
       {"data = \"a\\\"b\"\n", "width = [3, 4]\n", "seeds = 4\n", "noise = 1.0\n", "steps = 1\n",
        "learning_rate = { from = 0.001, to = 1.0, points = 4, scale = \"log\" }\n",
        "\n[[models]]\nrule = \"pc\"\n", "rule = [\"bp\", \"pc\"]\n", "bias = false\n",
        "widths = []\n", "device = \"cpu\"\n"}) {
    EXPECT_NE(written.find(line), std::string::npos) << line << written;
  }
}

// Invariant: equality is of values, models included, not of how they were written.
TEST_F(ConfigFile, EqualityIsOfValues) {
  EXPECT_EQ(read("seeds = 3\n"), read("seeds = [0, 1, 2]\n"));
  EXPECT_EQ(read("learning_rate = [1]\n"), read("learning_rate = 1.0\n"));
  EXPECT_FALSE(read("width = 3\n") == read("width = 4\n"));
  EXPECT_FALSE(read("[[models]]\nrule = \"bp\"\n") == read(""));
  EXPECT_FALSE(read("[[models]]\nrule = \"bp\"\n") == read("[[models]]\nrule = \"pc\"\n"));
  EXPECT_FALSE(Config{catalog::schema({"inputs"})} == Config{catalog::schema({"outputs"})})
      << "alike but for names";
  EXPECT_FALSE(Config{catalog::schema({"width"})} == Config{catalog::schema({"width", "rule"})});
}

// --- errors
// ---------------------------------------------------------------------------------------

TEST_F(ConfigFile, NamesThePlaceOfAnUnknownKeyAndTheNearestOne) {
  const auto file = path().string();
  refuses("width = 20\n\n  lerning_rate = 0.1\n",
          {file + ":3:3: ", "'lerning_rate'", "did you mean 'learning_rate'?"});
  refuses("[[models]]\nrule = \"bp\"\nrescale = \"none\"\n",
          {file + ":3:1: ", "'rescale'", "did you mean 'rescaling'?"});
  refuses("[network]\nwidth = 3\n", {file + ":1:", "'network'"});
}

TEST_F(ConfigFile, NamesThePlaceOfAWrongValue) {
  const auto file = path().string();
  refuses("steps = 2.5\n", {file + ":1:9: ", "steps = 2.5 is not a whole number"});
  refuses("\nwidth = [1,\n 0]\n", {file + ":3:2: ", "width = 0 is out of range", "at least 1"});
  refuses("steps = 1979-05-27\n", {file + ":1:9: ", "steps", "not a whole number"});
  refuses("learning_rate = { from = 1, to = 2, points = 3,  scale = \"lin\" }\n",
          {file + ":1:58: ", "scale", "learning_rate", "log, linear"});
}

TEST_F(ConfigFile, NamesThePlaceOfASyntaxError) {
  const auto file = path().string();
  refuses("width = 20\nsteps = \n", {file + ":2:", "not valid TOML"});
  refuses("width = 20\nwidth = 30\n", {file + ":2:", "not valid TOML", "width"});
  refuses("rule = bp\n", {file + ":1:", "not valid TOML"});
  refuses("width = 1\nsteps = 99999999999999999999\n", {file + ":2:", "not valid TOML"});
  refuses("data = \"\xff\"\n", {file + ":1:", "not valid TOML"});
}

TEST_F(ConfigFile, RefusesModelsThatAreNone) {
  const auto file = path().string();
  refuses("[[models]]\nrule = \"pc\"\nwidth = 3\n",
          {file + ":3:1: ", "width is the same for all models", "above the first [[models]]"});
  refuses("[[models]]\nrule = 'kalman'\n", {file + ":2:8: ", "rule", "\"kalman\"", "bp, pc"});
  refuses("[[models]]\nlearning_rate = []\n", {file + ":2:17: ", "learning_rate", "empty list"});
  for (const char* text : {"[models]\nrule = 'pc'\n", "models = 3\n", "models = []\n",
                           "models = [1, 2]\n", "models = [{ rule = 'pc' }, 2]\n"}) {
    refuses(text, {file + ":1:", "[[models]]"});
  }
}

// Oracle: contract. A table that says nothing, or what an earlier one says, is a slip; what
// assignments make equal counts once, and what they leave empty is no table without keys.
TEST_F(ConfigFile, RefusesModelsThatAreThereAlready) {
  const auto file = path().string();
  refuses("[[models]]\n[[models]]\nrule = \"pc\"\n", {file + ":1:", "sets no key"});
  refuses("[[models]]\nrule = \"pc\"\n[[models]]\n", {file + ":3:", "sets no key"});
  const std::string bp = "[[models]]\nrule = \"bp\"\n";
  refuses(bp + bp, {file + ":3:", "an earlier [[models]] makes the model rule = \"bp\" already"});
  refuses(bp + "[[models]]\nrule = [\"pc\", \"bp\"]\n",
          {file + ":3:", "the model rule = \"bp\" already"});
  refuses(bp + bp + "rescaling = \"none\"\n",
          {file + ":3:", "the model rescaling = \"none\", rule = \"bp\" already"});
  const std::string kalman = "[[models]]\nrule = \"kpc\"\nlearning_rate = ";
  refuses(kalman + "1\n" + kalman + "2\n",
          {file + ":4:", "the model learning_rate = 1.0, rule = \"kpc\" already"});
  const auto one = read(bp + "[[models]]\nrule = \"pc\"\n", {"rule=pc"});
  EXPECT_EQ(one.models().size(), 1U);
  const auto overlapping = read(bp + "regularisation = [1, 2]\n[[models]]\nrule = \"pc\"\n"
                                     "regularisation = [2, 3]\n",
                                {"rule=pc"});
  EXPECT_EQ(overlapping.models().size(), 3U);
  for (const auto* config : {&one, &overlapping}) {
    EXPECT_TRUE(Config::parse(schema(), config->toml(), "text") == *config) << config->toml();
  }
  EXPECT_EQ(read("rule = \"pc\"\n[[models]]\nlearning_rate = 2\n", {"learning_rate=1"})
                .toml()
                .find("[[models]]\n\n"),
            std::string::npos);
}

// Oracle: the stack. 100,000 brackets, tables or parts of a key used to end the process; 64 are
// enough, and what stands in texts and comments does not count.
TEST_F(ConfigFile, RefusesWhatIsNestedTooDeep) {
  const auto many = [](const std::string& text, int count) {
    std::string all;
    for (int i = 0; i < count; ++i) all += text;
    return all;
  };
  const auto file = path().string();
  constexpr int kMany = 100'000;
  for (const auto& text : {
           "x = " + many("[", kMany),
           "x = " + many("[", kMany) + many("]", kMany),
           "x = " + many("{a=", kMany),
           "x = " + many("[{a=", kMany),
           many("a.", kMany) + "a = 1",
           many("\"a\" . ", kMany) + "a = 1",
           "[" + many("a.", kMany) + "a]",
           "[[" + many("a.", kMany) + "a]]",
           "x = {" + many("a.", kMany) + "a = 1}",
           "x = \"]\" # ]\ny = " + many("['\\',", kMany),
       }) {
    refuses(text, {file + ":", "nested more than 64 deep"});
  }
  refuses("width = 1\n\nx = " + many("[", 100), {file + ":3:69: ", "nested more than 64 deep"});
  test::expect_user_error([&] { assigned({"width=" + many("[", kMany)}); },
                          "nested more than 64 deep");
  const auto deep = many("[", 200) + many(".", 200);
  EXPECT_EQ(read("# " + deep + "\ndata = \"" + deep + "\"\n").text("data"), deep);
  EXPECT_EQ(read("data = '''" + deep + "'''''\n").text("data"), deep + "''");
  EXPECT_EQ(read("data = \"\"\"\\\"\"\"" + deep + "\"\"\"\n").text("data"), "\"\"\"" + deep);
  refuses("x = " + many("[", 64) + "1" + many("]", 64), {"'x'"});
}

// Oracle: contract. Long input is answered at once and in a short sentence: a key, a text, a list,
// a file of zeros, devices without an end.
TEST_F(ConfigFile, RefusesLongInputAtOnce) {
  const auto file = path().string();
  const std::string million(1'000'000, 'a');
  const auto short_refusal = [&](const std::string& text, const std::string& part) {
    const auto error = user_error_text([&] { read(text); });
    ASSERT_TRUE(error);
    EXPECT_LT(error->size(), 400 + file.size());
    EXPECT_NE(error->find(part), std::string::npos) << *error;
  };
  short_refusal(million + " = 1\n", "no key is called 'aaa");
  short_refusal("width = \"" + million + "\"\n", "is not a whole number");
  short_refusal("width = { " + million + " = 1 }\n", "is not a part");
  short_refusal("rule = \"" + million + "\"\n", "is not one of bp");
  short_refusal("# " + std::string(5 << 20, 'a'), "longer than 4194304 bytes");
  std::string list = "width = [1";
  for (int i = 2; list.size() < 1'000'000; ++i) list += fmt::format(",{}", i);
  short_refusal(list + "]\n", "more than the 100000");
  std::string tables;
  for (int i = 1; i < 5'000; ++i) tables += fmt::format("[[models]]\nlearning_rate = {}\n", i);
  EXPECT_EQ(read(tables).models().size(), 2U * 4'999);
  for (const char* device : {"/dev/zero", "/dev/full"}) {
    test::expect_user_error([&] { Config::read(schema(), device); }, "longer than 4194304 bytes");
  }
}

// Contract: a shell's <(command) is a pipe.
TEST_F(ConfigFile, ComesFromAPipe) {
  const auto pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::jthread writer([&] { std::ofstream(pipe) << "width = 7\n"; });
  EXPECT_EQ(Config::read(schema(), pipe).integers("width"), Integers{7});
}

// Invariant, of every number in the vocabulary: what is far too large for a machine or for float32
// is refused where it is read, by a sentence that names the key.
TEST(Vocabulary, HasLimits) {
  for (const auto& key : catalog::vocabulary()) {
    if (key.kind == Kind::kText || key.kind == Kind::kBoolean || key.name == "seeds") continue;
    const auto keys = catalog::schema(key.name == "threads" || key.name == "dtype"
                                          ? std::vector<std::string>{"dtype"}
                                          : std::vector<std::string>{key.name, "dtype"});
    const auto read = [&](const std::string& value) {
      Config::read(keys, std::nullopt, {"dtype=float32", key.name + "=" + value});
    };
    for (const std::string huge : {"1e40", "-1e40", "1e300", "1e308", "inf", "nan"}) {
      test::expect_user_error([&] { read(huge); }, key.name);
    }
    if (key.kind == Kind::kReal && key.open_minimum) {
      test::expect_user_error([&] { read("1e-40"); }, key.name + " = 1e-40 is too small");
      test::expect_user_error(
          [&] { Config::read(keys, std::nullopt, {"dtype=float64", key.name + "=5e-324"}); },
          key.name + " = 5e-324 is too small");
    }
    if (key.kind != Kind::kInteger) continue;
    EXPECT_LT(key.maximum, 1e17) << key.name;
    for (const std::string huge : {"9223372036854775807", "-9223372036854775808",
                                   "9.223372036854775807e18", "1e18", "[9223372036854775807]"}) {
      test::expect_user_error([&] { read(huge); }, key.name);
    }
  }
}

// Oracle: contract; a seed is any whole number from 0, up to the largest.
TEST(Seeds, GoUpToTheLargest) {
  const std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(assigned({"seeds=[9223372036854775807]"}).integers("seeds"), Integers{largest});
  EXPECT_EQ(assigned({"seeds={from=9223372036854775806,to=9223372036854775807}"}).integers("seeds"),
            (Integers{largest - 1, largest}));
  refuses("seeds=9223372036854775807", {"seeds", "count from 1 to"});
  refuses("seeds={from=0,to=9223372036854775807}", {"seeds", "are more than"});
}

// Oracle: the products. Whatever cannot be run is refused before it is listed.
TEST(Config, RefusesMoreRunsThanAnyMachineMakes) {
  const std::string many = "{from=1,to=2,points=1000000}";
  for (const Texts& keys :
       {Texts{"noise=" + many}, Texts{"noise=" + many, "regularisation=" + many},
        Texts{"learning_rate=" + many, "seeds=1000000"},
        Texts{"seeds=1000000", "rule=[bp,pc]", "learning_rate={from=1,to=2,points=10}"}}) {
    test::expect_user_error([&] { assigned(keys); }, "more than the 100000 and 1e+07");
  }
  EXPECT_EQ(assigned({"rule=pc", "seeds=1000000"}).integers("seeds").size(), 1'000'000U);
}

TEST(Config, RefusesFilesThatItCannotRead) {
  const test::TemporaryFolder folder;
  const auto refuse = [](const std::filesystem::path& path) {
    test::expect_user_error([&] { Config::read(schema(), path); }, test::quoted(path));
  };
  refuse(folder / "missing.toml");
  refuse(folder.path());
}

TEST(Assignment, RefusesUnknownKeysWithTheNearestOne) {
  refuses("lerning_rate=0.1", {"'lerning_rate'", "did you mean 'learning_rate'?"});
  refuses("target=teacher", {"'target'", "did you mean"});
  refuses("models=[]", {"'models'", "did you mean"});
}

TEST(Assignment, RefusesWhatIsNoAssignment) {
  refuses("width", {"=", "--set key=value"});
  refuses("", {"--set key=value"});
  refuses("=3", {"no key", "--set key=value"});
  refuses(" =3", {"no key"});
}

TEST(Assignment, RefusesWhatIsNoTomlValue) {
  refuses("width=", {"no value"});
  refuses("width= ", {"no value"});
  for (const std::string value : {"[1,2", "1 2", "{from=1", "[1]]", "\"a", "1,2", "a=b", "]"}) {
    refuses("width=" + value, {"not valid TOML"});
  }
  refuses("data=\"a\" b", {"not valid TOML"});
  const auto error = user_error_text([] { assigned({"data=\xff"}); });
  ASSERT_TRUE(error);
  EXPECT_NE(error->find("not valid TOML"), std::string::npos) << *error;
}

// A line break in a value cannot smuggle in another key.
TEST(Assignment, IsOneValue) {
  for (const std::string rest : {"\nsteps=2", "\n[models]", "\r\nsteps=2"}) {
    test::expect_user_error([&] { assigned({"width=1" + rest}); }, "--set width=1");
  }
  EXPECT_EQ(assigned({"width=[1,\n2]"}).integers("width"), (Integers{1, 2}));
}

TEST(Assignment, RefusesOtherKinds) {
  refuses("width=20.5", {"width = 20.5 is not a whole number"});
  refuses("width=wide", {"width = \"wide\" is not a whole number"});
  refuses("width=true", {"width = true is not a whole number"});
  refuses("width=[2,[3]]", {"width", "is not a whole number"});
  refuses("noise=.", {"noise = \".\" is not a number"});
  refuses("noise=1..5", {"noise = \"1..5\" is not a number"});
  refuses("noise=true", {"noise = true is not a number"});
  refuses("bias=1", {"bias = 1 is not true or false"});
  refuses("bias=True", {"bias = \"True\" is not true or false"});
  refuses("width=1#2", {"width = \"1#2\" is not a whole number"});
  refuses(R"(rule="b\"p")", {R"(rule = "b\"p" is not one of bp, pc)"});
  refuses("rule=3", {"rule = 3 is not one of bp, pc"});
  refuses("rule=pcc", {"rule = \"pcc\" is not one of bp, pc"});
  refuses("measure=[loss]",
          {"measure = \"loss\" is not one of target_alignment, excess_map_error"});
}

TEST(Assignment, RefusesNumbersOutOfRange) {
  refuses("learning_rate=0", {"learning_rate = 0.0 is out of range", "above 0"});
  refuses("learning_rate=[1,-1]", {"learning_rate = -1.0 is out of range", "above 0"});
  refuses("condition_number=0.5", {"condition_number = 0.5", "at least 1, or 0"});
  EXPECT_EQ(assigned({"condition_number=0"}).real("condition_number"), 0);
  EXPECT_EQ(assigned({"condition_number=1"}).real("condition_number"), 1);
  refuses("forgetting=1.5", {"forgetting = 1.5", "at most 1"});
  refuses("width=0", {"width = 0", "at least 1"});
  refuses("seeds=-1", {"seeds = -1", "at least 0"});
  refuses("seeds=[0,-1]", {"seeds = -1", "at least 0"});
  for (const std::string number : {"nan", "inf", "-inf", "+nan", "[1,inf]"}) {
    refuses("learning_rate=" + number, {"learning_rate", "not finite"});
  }
}

TEST(Assignment, RefusesEmptyListsDuplicatesAndWrongShapes) {
  refuses("rule=[]", {"rule is an empty list"});
  refuses("seeds=[]", {"seeds is an empty list"});
  refuses("rule=[pc,bp,pc]", {"rule has \"pc\" twice"});
  refuses("learning_rate=[1,1.0]", {"learning_rate has 1.0 twice"});
  refuses("seeds=[3,4,3]", {"seeds has 3 twice"});
  refuses("samples=[1,2]", {"samples takes one value, not a list"});
  refuses("batch_size=[1,2]", {"batch_size takes one value, not a list"});
  refuses("samples={from=1,to=2,points=2}", {"samples takes one value, not a table"});
  refuses("rule={from=bp,to=pc,points=2}", {"rule takes a value or a list, not a table"});
  refuses("widths={from=1,to=2,points=2}", {"widths", "not a table"});
}

TEST(Range, IsCompleteAndPossible) {
  const auto refuse = [](const std::string& range, const Texts& parts) {
    refuses("learning_rate={" + range + "}", parts);
  };
  refuse("from=1,to=2", {"the range of learning_rate lacks 'points'"});
  refuse("to=2,points=2", {"the range of learning_rate lacks 'from'"});
  refuse("from=1,points=2", {"the range of learning_rate lacks 'to'"});
  refuse("form=1,to=2,points=2", {"'form'", "learning_rate", "from, to, points, scale"});
  refuse("from=1,to=2,points=1", {"points", "learning_rate", "from 2"});
  refuse("from=1,to=2,points=2.5", {"points", "learning_rate", "whole number"});
  refuse("from=1,to=2,points=2000000", {"points", "learning_rate", "1000000"});
  refuse("from=1,to=2,points=3,scale=cubic", {"scale", "learning_rate", "log, linear"});
  refuse("from=1,to=2,points=3,scale=3", {"scale", "learning_rate", "log, linear"});
  refuse("from=0,to=2,points=3,scale=linear", {"learning_rate = 0.0 is out of range"});
  refuse("from=1,to=inf,points=3", {"learning_rate = inf is not finite"});
  refuse("from=a,to=2,points=3", {"learning_rate = \"a\" is not a number"});
  refuse("from=2,to=2,points=3", {"learning_rate has 2.0 twice"});
  refuses("regularisation={from=0,to=1,points=3}", {"log range of regularisation", "linear"});
  refuses("regularisation={from=1,to=0,points=3}", {"log range of regularisation", "linear"});
  refuses("condition_number={from=0,to=1,points=3,scale=linear}",
          {"condition_number = 0.5 is out of range"});
  refuses("width={from=1,to=3,points=9}", {"width has 1 twice"});
  refuses("width={from=1.5,to=3,points=2}", {"width = 1.5 is not a whole number"});
}

TEST(Seeds, RefuseWhatNamesNoSeeds) {
  refuses("seeds=0", {"seeds = 0 is not a count", "[0]"});
  refuses("seeds=2000000", {"seeds = 2000000 is not a count from 1 to 1000000"});
  refuses("seeds={from=3,to=2}", {"seeds", "from 3 down to 2"});
  refuses("seeds={from=0,to=2000000}", {"seeds", "more than 1000000"});
  refuses("seeds={from=0,to=3,points=2}", {"'points'", "seeds", "from, to"});
  refuses("seeds={to=3}", {"the range of seeds lacks 'from'"});
  refuses("seeds=1.5", {"seeds = 1.5 is not a whole number"});
}

}  // namespace
}  // namespace pcxx::config
