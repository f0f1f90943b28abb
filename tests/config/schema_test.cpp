#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/config/config.h>
#include <pcxx/core/files.h>
#include <pcxx/nn/init.h>

#include <cstdlib>
#include <map>
#include <random>
#include <regex>
#include <set>
#include <sstream>

namespace pcxx::config {
namespace {

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const auto& key : catalog::vocabulary()) names.push_back(key.name);
  return names;
}

Schema whole_vocabulary() {
  return catalog::schema(all_names());
}

const Key& known(const std::string& name) {
  static const auto schema = whole_vocabulary();
  const auto* key = schema.find(name);
  if (key == nullptr) throw std::out_of_range(name);
  return *key;
}

std::vector<std::string> lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string line; std::getline(stream, line);) all.push_back(line);
  return all;
}

// Oracle: the paper's settings, section 6 of its experiments, written down again.
TEST(Vocabulary, DefaultsAreThePapers) {
  const Config config(whole_vocabulary());
  EXPECT_EQ(config.texts("rule"), (std::vector<std::string>{"bp", "pc"}));
  EXPECT_EQ(config.text("rescaling"), "none");
  EXPECT_EQ(config.text("architecture"), "dln");
  EXPECT_EQ(config.text("init"), "kaiming");
  EXPECT_EQ(config.integer("hidden_layers"), 1);
  EXPECT_EQ(config.integer("width"), 512);
  EXPECT_EQ(config.integer("inputs"), 0);
  EXPECT_EQ(config.integer("outputs"), 0);
  EXPECT_TRUE(config.integers("widths").empty());
  EXPECT_EQ(config.real("condition_number"), 0);
  EXPECT_FALSE(config.boolean("bias"));
  EXPECT_EQ(config.integer("batch_size"), 1);
  EXPECT_EQ(config.text("targets"), "teacher");
  EXPECT_EQ(config.integer("steps"), 500);
  EXPECT_EQ(config.text("dtype"), "float64");
  EXPECT_EQ(config.integers("seeds"), (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(config.text("optimizer"), "sgd");
  EXPECT_EQ(config.real("regularisation"), 0);
  EXPECT_EQ(config.text("change"), "first_order");
  const auto rates = config.reals("learning_rate");
  ASSERT_EQ(rates.size(), 100U);
  EXPECT_NEAR(std::log10(rates.front()), -3.5, 1e-15);
  EXPECT_NEAR(std::log10(rates.back()), 0.5, 1e-15);
}

// Oracle: the calls themselves. Every key that the library reads is in the vocabulary, with the
// kind that it is read as.
TEST(Vocabulary, HasEveryKeyThatTheLibraryReads) {
  const std::map<std::string, Kind> kinds{{"boolean", Kind::kBoolean},  {"integer", Kind::kInteger},
                                          {"integers", Kind::kInteger}, {"real", Kind::kReal},
                                          {"reals", Kind::kReal},       {"text", Kind::kText},
                                          {"texts", Kind::kText}};
  const std::regex call(R"re(\.(boolean|integers?|reals?|texts?)\("(\w+)"\))re");
  const std::regex member(R"re(\bread\(config, "(\w+)")re");  // its kind is the member's
  std::set<std::string> found;
  for (const char* file : {"amounts.cpp", "experiment.cpp", "image_sets.cpp", "model.cpp"}) {
    const auto text = read_file(std::filesystem::path(PCXX_SOURCE_DIR) / "lib/src/catalog" / file);
    for (std::sregex_iterator match(text.begin(), text.end(), call), end; match != end; ++match) {
      const std::string name = (*match)[2];
      if (name == "layer") continue;  // a key of programs that add one (extend_test.cpp)
      found.insert(name);
      EXPECT_EQ(known(name).kind, kinds.at((*match)[1])) << name;
    }
    for (std::sregex_iterator match(text.begin(), text.end(), member), end; match != end; ++match) {
      const std::string name = (*match)[1];
      if (name == "layer" || name == "measure") continue;  // keys of programs
      found.insert(known(name).name);
    }
  }
  EXPECT_GT(found.size(), 40U);
}

// Contract: every choice of the vocabulary is made, and is called as the config calls it.
TEST(Vocabulary, ChoicesAreWhatTheLibraryBuilds) {
  const auto config = Config(whole_vocabulary()).with("rule", {std::string("pc")});
  for (const auto& name : choice_names(known("rescaling"))) {
    EXPECT_EQ(catalog::make_rescaling(config.with("rescaling", {name}))->name(), name);
  }
  for (const auto& name : choice_names(known("rule"))) {
    EXPECT_EQ(catalog::make_rule(config.with("rule", {name}))->name(), name);
  }
  for (const auto& name : choice_names(known("inference"))) {
    if (name == "auto") continue;
    const double step = name == "state_descent" ? 0.05 : 0;
    const auto model = config.with("inference", {name}).with("inference_step_size", {step});
    EXPECT_EQ(catalog::make_inference(model)->name(), name);
  }
  for (const auto& name : choice_names(known("optimizer"))) {
    EXPECT_NE(catalog::make_optimizer(config.with("optimizer", {name}), {at::ones({2})}, 0.1),
              nullptr);
  }
  for (const auto& name : choice_names(known("init"))) {
    const auto model = config.with("init", {name}).with("width", {std::int64_t{3}});
    EXPECT_EQ(catalog::draw_network(model, 0, at::kCPU)->size(), 2U) << name;
  }
}

// Invariant: an option belongs to the choices that have it, and goes where none of them is left.
TEST(Vocabulary, OptionsBelongToChoices) {
  EXPECT_EQ(known("regularisation").of_key, "rescaling");
  EXPECT_EQ(known("regularisation").of_choices,
            (std::vector<std::string>{"decorrelation", "projection"}));
  auto schema = whole_vocabulary();
  schema.choices("rescaling", {"none", "projection"});
  EXPECT_NE(schema.find("regularisation"), nullptr);
  EXPECT_EQ(schema.find("spectrum"), nullptr);
  EXPECT_EQ(schema.find("forgetting"), nullptr);
}

// Invariant: what models share (networks, data, seeds, length) cannot differ between them; what
// makes a model can.
TEST(Vocabulary, SaysWhatMayDifferBetweenModels) {
  for (const char* name : {"rule",
                           "rescaling",
                           "learning_rate",
                           "regularisation",
                           "forgetting",
                           "prior_scale",
                           "alpha_denominator",
                           "alpha_floor",
                           "spectrum",
                           "as_printed",
                           "optimizer",
                           "momentum",
                           "nesterov",
                           "weight_decay",
                           "schedule",
                           "warmup_steps",
                           "final_fraction",
                           "decay_every",
                           "decay_factor",
                           "inference_memory",
                           "inference",
                           "inference_steps",
                           "inference_step_size",
                           "inference_tolerance",
                           "inference_energy_tolerance"}) {
    EXPECT_TRUE(known(name).per_model) << name;
  }
  for (const char* name : {"architecture", "init", "hidden_layers", "width", "widths", "batch_size",
                           "targets", "noise", "steps", "dtype", "seeds", "dataset", "threads",
                           "device", "condition_number", "bias"}) {
    EXPECT_FALSE(known(name).per_model) << name;
  }
}

// Every key is documented, once, and its name can be typed without quotes.
TEST(Vocabulary, IsDocumented) {
  std::set<std::string> names;
  for (const auto& key : catalog::vocabulary()) {
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    EXPECT_FALSE(key.doc.empty()) << key.name;
    EXPECT_EQ(key.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos);
    EXPECT_EQ(key.doc.find('\n'), std::string::npos) << key.name;
  }
}

std::vector<std::string> names_of(const Schema& schema) {
  std::vector<std::string> names;
  for (const auto& key : schema.keys()) names.push_back(key.name);
  return names;
}

TEST(Schema, PicksKeysInOrderAndAddsThreadsAndDevice) {
  EXPECT_EQ(names_of(catalog::schema({"width", "rule"})),
            (std::vector<std::string>{"width", "rule", "threads", "device"}));
  EXPECT_EQ(names_of(catalog::schema({"device", "rule"})),
            (std::vector<std::string>{"device", "rule", "threads"}));
  EXPECT_THROW(catalog::schema({"no_such_key"}), c10::Error);
  EXPECT_THROW(catalog::schema({"rule", "rule"}), c10::Error);
}

TEST(Schema, IsAdaptedByAProgram) {
  auto schema = catalog::schema({"width", "rule", "architecture"});
  schema.initial("width", "20")
      .one({"width"})
      .choices("architecture", {"dln", "relu"})
      .add({.name = "curves", .kind = Kind::kText, .initial = "\"best\"", .doc = "which"});
  EXPECT_EQ(schema.find("width")->initial, "20");
  EXPECT_EQ(schema.find("width")->shape, Shape::kOne);
  EXPECT_EQ(schema.find("rule")->shape, Shape::kSweep);
  EXPECT_EQ(choice_names(*schema.find("architecture")), (std::vector<std::string>{"dln", "relu"}));
  EXPECT_EQ(schema.find("curves")->doc, "which");
  EXPECT_EQ(schema.find("steps"), nullptr);
  EXPECT_EQ(known("width").initial, "512");
}

TEST(Schema, RefusesWhatItDoesNotHave) {
  auto schema = catalog::schema({"width"});
  EXPECT_THROW(schema.initial("rule", "\"bp\""), c10::Error);
  EXPECT_THROW(schema.one({"rule"}), c10::Error);
  EXPECT_THROW(schema.choices("rule", {"bp"}), c10::Error);
  EXPECT_THROW(schema.add({.name = "width", .initial = "1"}), c10::Error);
}

// Oracle: distances counted by hand; a transposition is two replacements.
TEST(Schema, KnowsTheNearestKey) {
  const auto schema = whole_vocabulary();
  const std::map<std::string, std::string> misspelt{{"lerning_rate", "learning_rate"},
                                                    {"learningrate", "learning_rate"},
                                                    {"hiden_layer", "hidden_layers"},
                                                    {"with", "width"},
                                                    {"batchsize", "batch_size"},
                                                    {"sedes", "seeds"},
                                                    {"optimiser", "optimizer"},
                                                    {"regularization", "regularisation"},
                                                    {"Rule", "rule"},
                                                    {"steps", "steps"}};
  for (const auto& [wrong, right] : misspelt) EXPECT_EQ(schema.nearest(wrong), right) << wrong;
}

// The help of a key: its name, then the documentation and the facts in one column.
std::string help_of(const Schema& schema, const std::string& name) {
  std::string text;
  bool inside = false;
  for (const auto& line : lines(schema.help())) {
    if (line.empty()) break;
    if (line[2] != ' ') inside = line.substr(2, line.find(' ', 2) - 2) == name;
    if (!inside) continue;
    const auto begin = line[2] == ' ' ? line.find_first_not_of(' ')
                                      : line.find_first_not_of(' ', line.find(' ', 2));
    if (!text.empty()) text += ' ';
    text += line.substr(begin);
  }
  return text;
}

TEST(Help, TellsDefaultChoicesAndDocumentationOfEveryKey) {
  const auto schema = whole_vocabulary();
  for (const auto& key : schema.keys()) {
    const auto text = help_of(schema, key.name);
    EXPECT_NE(text.find(key.doc), std::string::npos) << text;
    EXPECT_NE(text.find("default " + key.initial), std::string::npos) << text;
    for (const auto& choice : choice_names(key))
      EXPECT_NE(text.find(choice), std::string::npos) << text;
    EXPECT_EQ(text.find("; per model") != std::string::npos, key.per_model) << text;
    EXPECT_EQ(text.find("; sweep") != std::string::npos, key.shape == Shape::kSweep) << text;
  }
  EXPECT_EQ(
      help_of(schema, "forgetting"),
      "recursive_projection: a sample's weight falls by this factor with every update number, "
      "above 0 and at most 1; default 0.95; sweep; per model");
}

// Oracle: the widest name. Everything but names starts in one column, and no line is too long to
// read.
TEST(Help, IsAligned) {
  const auto schema =
      catalog::schema({"rule", "inference_energy_tolerance", "learning_rate", "dataset"});
  const std::size_t column = std::string("  inference_energy_tolerance  ").size();
  for (const auto& line : lines(schema.help())) {
    if (line.empty()) continue;
    EXPECT_LE(line.size(), 100U) << line;
    ASSERT_GT(line.size(), column) << line;
    EXPECT_EQ(line[column - 1], ' ') << line;
    EXPECT_NE(line[column], ' ') << line;
  }
}

TEST(Limits, AreSaidInWords) {
  EXPECT_EQ(limits(known("learning_rate")), "above 0");
  EXPECT_EQ(limits(known("condition_number")), "at least 1, or 0");
  EXPECT_EQ(limits(known("forgetting")), "above 0 and at most 1");
  EXPECT_EQ(limits(known("rule")), "");
  EXPECT_EQ(limits({.name = "x", .maximum = 2}), "at most 2");
}

// Oracle: strtod. The text of a double reads back as the same double, whatever its bits.
TEST(ToString, ReadsBackAsTheSameNumber) {
  std::mt19937_64 generator(1);
  std::uniform_real_distribution<double> exponent(-300, 300);
  std::vector<double> numbers{0, 0.1, 1, 1e-3, 1e5, 1e22, 1.0 / 3, 5e-324, 1.7976931348623157e308};
  for (int i = 0; i < 1000; ++i) numbers.push_back(std::pow(10, exponent(generator)));
  for (const double number : numbers) {
    for (const double x : {number, -number}) {
      EXPECT_EQ(std::strtod(to_string(x).c_str(), nullptr), x) << to_string(x);
    }
  }
}

TEST(ToString, IsShort) {
  EXPECT_EQ(to_string(0.1), "0.1");
  EXPECT_EQ(to_string(1.0), "1");
  EXPECT_EQ(to_string(std::int64_t{-20}), "-20");
  EXPECT_EQ(to_string(true), "true");
  EXPECT_EQ(to_string(std::string("norm_preserving")), "norm_preserving");
}

}  // namespace
}  // namespace pcxx::config
