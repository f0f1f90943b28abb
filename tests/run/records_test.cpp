#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/run/records.h>

#include <bit>
#include <cstdlib>
#include <limits>
#include <random>
#include <sstream>

namespace pcxx::run {
namespace {

using Row = std::vector<std::string>;

// Oracle: a reader of CSV as RFC 4180 has it.
std::vector<Row> parse_csv(const std::string& text) {
  std::vector<Row> rows{Row{""}};
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    auto& field = rows.back().back();
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == ',') {
      rows.back().emplace_back();
    } else if (!quoted && c == '\n') {
      rows.push_back(Row{""});
    } else {
      field += c;
    }
  }
  EXPECT_EQ(rows.back(), Row{""}) << "the last line has no end";
  rows.pop_back();
  return rows;
}

config::Config config() {
  return config::Config::read(
      catalog::schema({"rule", "rescaling", "width", "learning_rate", "seeds", "steps"}),
      std::nullopt, {"rule=pc", "width=[5,6]", "learning_rate=0.1", "seeds=3", "steps=7"});
}

// Of a config that says nothing.
Cell no_cell() {
  return {config::Config(catalog::schema({})), columns(config::Config(catalog::schema({})))};
}

// Oracle: the columns by hand. Keys with several values and keys that the program lacks are empty.
TEST(Records, WritesOneTidyRowPerMeasurement) {
  std::ostringstream stream;
  Records records(stream, columns(config()));
  const auto cell = records.cell(config());
  records.add(cell, 3, "map_error", 0.25);
  records.add(cell.with("seed", 2).with("width", 5).with("learning_rate", 1e-3), "best, of all", 1);
  records.add(no_cell(), 0, "x", -1e300);
  records.flush();
  EXPECT_EQ(records.rows(), 3);
  EXPECT_EQ(stream.str(),
            "rule,rescaling,architecture,init,hidden_layers,width,condition_number,batch_size,"
            "learning_rate,targets,steps,dtype,seed,step,metric,value\n"
            "pc,none,,,,,,,0.1,,7,,,3,map_error,0.25\n"
            "pc,none,,,,5,,,0.001,,7,,2,,\"best, of all\",1\n"
            ",,,,,,,,,,,,,0,x,-1e+300\n");
}

// Oracle: the columns by hand. A key that is swept, or that one model sets, gets a column of its
// own.
TEST(Records, HaveAColumnForWhateverIsSwept) {
  const auto swept = config::Config::parse(
      catalog::schema({"rule", "rescaling", "width", "noise", "prior_scale", "regularisation",
                       "learning_rate"}),
      "noise = [0, 0.5]\n[[models]]\nrule = \"bp\"\n[[models]]\nrule = \"pc\"\n"
      "regularisation = 0.25\n",
      "text");
  const auto names = columns(swept);
  EXPECT_EQ(std::vector<std::string>(names.begin() + kIdentity.size(), names.end()),
            (std::vector<std::string>{"noise", "regularisation"}));
  std::ostringstream stream;
  Records records(stream, names);
  records.add(records.cell(swept.cells()[1].models()[1]).with("seed", 4), 2, "x", 1);
  records.flush();
  EXPECT_NE(stream.str().find(",dtype,seed,noise,regularisation,step,metric,value\n"),
            std::string::npos);
  EXPECT_TRUE(stream.str().ends_with(",,,4,0.5,0.25,2,x,1\n")) << stream.str();
}

TEST(Records, RefuseAColumnThatIsNotThere) {
  EXPECT_THROW(no_cell().with("seeds", 1), c10::Error);
}

// By hand: what the cell of the config holds, and nothing where there is no one value or no column.
TEST(Records, ACellKnowsItsFields) {
  const auto cell = Cell(config(), columns(config())).with("seed", 2);
  EXPECT_EQ(cell.field("rule"), "pc");
  EXPECT_EQ(cell.field("learning_rate"), "0.1");
  EXPECT_EQ(cell.field("seed"), "2");
  EXPECT_EQ(cell.field("width"), "");
  EXPECT_EQ(cell.field("seeds"), "");
}

// By hand: a list of all widths leaves nothing to one width and a number of layers.
TEST(Records, ListedWidthsReplaceTheOthers) {
  const auto schema = catalog::schema({"hidden_layers", "width", "inputs", "outputs", "widths"});
  const auto cell = [&](const std::string& widths) {
    const auto read = config::Config::read(schema, std::nullopt, {"widths=" + widths, "width=7"});
    return Cell(read, columns(read));
  };
  EXPECT_EQ(cell("[]").field("width"), "7");
  EXPECT_EQ(cell("[]").field("hidden_layers"), "1");
  EXPECT_EQ(cell("[3,4]").field("width"), "");
  EXPECT_EQ(cell("[3,4]").field("hidden_layers"), "");
}

// By hand: the key that writes the network replaces the name of an architecture.
TEST(Records, SayLayersOfANetworkThatTheyWrite) {
  const auto schema = catalog::schema({"architecture", "layers"});
  for (const auto& [layers, expected] : {std::pair("", "relu"), std::pair("dense", "layers")}) {
    const auto config = config::Config::read(
        schema, std::nullopt, {"architecture=relu", std::string("layers=") + layers});
    EXPECT_EQ(Cell(config, columns(config)).field("architecture"), expected);
  }
}

// By hand: measurements that belong to no step are not told of.
TEST(Records, TellOfEveryStep) {
  std::ostringstream stream;
  Records records(stream, columns(config()));
  std::string told;
  records.add(no_cell(), 0, "before", 1);
  records.listen([&](const Cell& cell, std::int64_t step, std::string_view metric, double value) {
    told += fmt::format("{} {} {} {};", cell.field("rule"), step, metric, value);
  });
  const auto cell = records.cell(config());
  records.add(cell, 3, "error", 0.5);
  records.add(cell, "best", 0.25);
  records.add(cell, 4, "error", 1.5);
  EXPECT_EQ(told, "pc 3 error 0.5;pc 4 error 1.5;");
  EXPECT_EQ(records.rows(), 4);
}

// Oracle: strtod. Random bit patterns, all magnitudes, come back as the same double; what is not
// finite is nan, inf or -inf, whatever the sign of the NaN.
TEST(Records, NumbersReadBackAsTheSameDouble) {
  std::mt19937_64 bits(1);
  std::vector<double> values{0.0,
                             -0.0,
                             0.1,
                             1.0 / 3,
                             std::numeric_limits<double>::denorm_min(),
                             std::numeric_limits<double>::max(),
                             std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()};
  for (int i = 0; i < 20000; ++i) {
    const auto value = std::bit_cast<double>(bits());
    if (value == value) values.push_back(value);
  }
  std::ostringstream stream;
  Records records(stream, columns(config::Config(catalog::schema({}))));
  for (const double value : values) records.add(no_cell(), 1, "x", value);
  records.add(no_cell(), 1, "x", -std::numeric_limits<double>::quiet_NaN());
  records.flush();
  const auto rows = parse_csv(stream.str());
  ASSERT_EQ(rows.size(), values.size() + 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double back = std::strtod(rows[i + 1].back().c_str(), nullptr);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(back), std::bit_cast<std::uint64_t>(values[i]));
  }
  EXPECT_EQ(rows.back().back(), "nan");
  EXPECT_EQ(rows[7].back(), "inf");
  EXPECT_EQ(rows[8].back(), "-inf");
}

// Oracle: the reader above.
TEST(CsvField, ReadsBackAsTheSameText) {
  for (const std::string text :
       {"plain", "", "a,b", "say \"hi\"", "two\nlines", "\"", "a\r\nb,\""}) {
    EXPECT_EQ(parse_csv(csv_field(text) + ",end\n"), (std::vector<Row>{{text, "end"}}));
  }
  EXPECT_EQ(csv_field("plain"), "plain");
}

}  // namespace
}  // namespace pcxx::run
