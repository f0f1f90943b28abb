#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/files.h>
#include <pcxx/io/checkpoint.h>
#include <pcxx/io/safetensors.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/programs.h>

#include <cstdlib>
#include <map>
#include <sstream>

#include "support/csv.h"
#include "support/small_program.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

std::vector<std::map<std::string, std::string>> rows_of(const std::filesystem::path& path) {
  std::istringstream file(read_file(path));
  std::string line;
  std::getline(file, line);
  const auto names = test::fields(line);
  std::vector<std::map<std::string, std::string>> rows;
  while (std::getline(file, line)) {
    const auto values = test::fields(line);
    auto& row = rows.emplace_back();
    for (std::size_t i = 0; i < names.size(); ++i) row[names[i]] = values.at(i);
  }
  return rows;
}

class Activities : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("PCXX_PYTHON", "/nonexistent", 1); }

  test::Outcome train(const run::Program& program, std::vector<std::string> keys) {
    keys.insert(keys.end(), {"dataset=digits", "samples=64", "test_samples=16", "steps=3",
                             "seeds=1", "rule=pc", "learning_rate=0.1", "batch_size=16"});
    return test::run_program(program, words({"--out", (folder_ / "trained").string()}, keys));
  }

  test::Outcome look(std::vector<std::string> more, const std::vector<std::string>& keys) {
    more.insert(more.end(), {"--out", (folder_ / "looked").string()});
    return test::run_program(programs::activities(), words(std::move(more), keys));
  }

  std::string weights() const {
    return (folder_ / "trained" / "weights1-pc-none-seed0.safetensors").string();
  }

  std::map<std::string, at::Tensor> tensors() const {
    const auto path = folder_ / "looked" / "activities.safetensors";
    const auto file = io::read_safetensors(read_file(path), path.string());
    return {file.tensors.begin(), file.tensors.end()};
  }

  // The network that the file describes, drawn by the catalog and loaded.
  nn::Network network() const {
    const auto described = io::described_network(read_file(weights()), weights());
    const auto keys = catalog::schema(
        {"architecture", "layers", "widths", "init", "bias", "condition_number", "loss", "dtype"});
    const auto config = config::Config::parse(
        keys, "", "",
        {"layers=" + described.layers, "dtype=" + described.dtype, "loss=" + described.loss,
         "widths=[" + std::to_string(described.inputs) + "," + std::to_string(described.outputs) +
             "]"});
    auto network = catalog::draw_network(config, 0, at::kCPU);
    io::load_network(network, weights());
    return network;
  }

  test::TemporaryFolder folder_;

 private:
  static std::vector<std::string> words(std::vector<std::string> all,
                                        const std::vector<std::string>& keys) {
    for (const auto& key : keys) all.insert(all.end(), {"--set", key});
    all.emplace_back("--quiet");
    return all;
  }
};

constexpr const char* kLayers =
    "layers=group(conv2d(channels=3, stride=2, padding=1, activation=relu, bias=true) max_pool) "
    "dense(width=12, activation=tanh) dense(width=10, bias=true)";

// Oracle: the network of the file by itself. The feed-forward activities are its pass, errors are
// what its layers do not predict of the equilibrium, inputs and outputs are held.
TEST_F(Activities, AreThoseOfTheNetwork) {
  ASSERT_EQ(train(programs::classifier(), {kLayers, "loss=cross_entropy"}).code, 0);
  const auto outcome =
      look({"--load", weights()}, {"dataset=digits", "images=[5,0,9]", "inference_steps=200"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const at::NoGradGuard no_grad;
  const auto found = tensors();
  const auto network = this->network();
  EXPECT_TRUE(found.at("index").equal(at::tensor({5, 0, 9}, at::kLong)));
  const auto pass = nn::feedforward(*network, found.at("input"));
  for (std::size_t l = 1; l <= 3; ++l) {
    const auto name = "layer" + std::to_string(l) + ".";
    EXPECT_TRUE(found.at(name + "feedforward").allclose(pass.activities[l], 1e-5, 1e-6)) << l;
    if (l == 3) break;
    const auto below = l == 1 ? found.at("input") : found.at("layer1.equilibrium");
    const auto predicted = network->layer(l).forward(below);
    EXPECT_TRUE(
        found.at(name + "error").allclose(found.at(name + "equilibrium") - predicted, 1e-4, 1e-5))
        << l;
  }
  EXPECT_TRUE(found.at("layer3.equilibrium").equal(found.at("target")));
  EXPECT_TRUE(found.at("target").argmax(-1).equal(found.at("label")));
  const auto rest = found.at("layer3.error");
  const auto at_top = network->layer(3).forward(found.at("layer2.equilibrium"));
  EXPECT_FALSE(at_top.allclose(pass.prediction()));
  EXPECT_TRUE(rest.allclose(found.at("target") - at_top.softmax(-1), 1e-4, 1e-5));
}

// Oracle: the tensors, number by number.
TEST_F(Activities, AreTablesToo) {
  ASSERT_EQ(train(programs::autoencoder(), {"widths=[784,6,4,6,784]"}).code, 0);
  ASSERT_EQ(look({"--load", weights()}, {"dataset=digits", "batch_size=3", "split=train"}).code, 0);
  const auto found = tensors();
  EXPECT_TRUE(found.at("target").equal(found.at("input")));
  std::size_t rows = 0;
  for (const auto& row : rows_of(folder_ / "looked" / "activities.csv")) {
    const auto layer = "layer" + row.at("layer") + ".";
    const auto image = std::stoll(row.at("image"));
    const auto unit = std::stoll(row.at("unit"));
    for (const char* what : {"feedforward", "equilibrium", "error"}) {
      const auto value = found.at(layer + what)[image][unit].item<double>();
      EXPECT_EQ(std::stod(row.at(what)), value) << layer << what;
    }
    ++rows;
  }
  EXPECT_EQ(rows, 3U * (6 + 4 + 6 + 784));
  const auto codes = rows_of(folder_ / "looked" / "codes.csv");
  ASSERT_EQ(codes.size(), 3U);
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t unit = 0; unit < 4; ++unit) {
      const auto text = codes[static_cast<std::size_t>(i)].at("unit" + std::to_string(unit));
      EXPECT_EQ(std::stod(text), found.at("layer2.feedforward")[i][unit].item<double>());
    }
  }
}

// Contract: one sentence, and nothing written.
TEST_F(Activities, RefuseWhatTheyCannotLookInto) {
  ASSERT_EQ(train(programs::classifier(), {"widths=[784,5,10]"}).code, 0);
  const auto refuses = [&](const std::vector<std::string>& words,
                           const std::vector<std::string>& keys, const std::string& part) {
    const auto outcome = look(words, keys);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "looked"));
  };
  refuses({}, {"dataset=digits"}, "--load is missing");
  refuses({"--load", weights()}, {"dataset=digits", "images=[99999]"},
          "images = 99999 is not there");
  refuses({"--load", weights()}, {"dataset=digits", "task=images"}, "as many outputs as inputs");
  const auto foreign = folder_ / "foreign.safetensors";
  {
    AtomicFile file(foreign);
    io::write_safetensors(file.stream(), {{"w", at::ones({2, 2})}}, {});
    file.commit();
  }
  refuses({"--load", foreign.string()}, {"dataset=digits"}, "does not describe its network");
}

}  // namespace
}  // namespace pcxx
