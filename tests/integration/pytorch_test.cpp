// Saved weights in PyTorch, and weights of PyTorch in the programs, where a Python with torch is
// found.

#include <gtest/gtest.h>
#include <pcxx/train/checkpoint.h>

#include <algorithm>

#include "support/environment.h"
#include "support/networks.h"
#include "support/python.h"
#include "train/safetensors.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using nn::Activation;
using test::run_command;

const std::string kScript = PCXX_SOURCE_DIR "/python/pcxx_weights.py";

class PyTorch : public testing::Test {
 protected:
  static void SetUpTestSuite() { interpreter_ = test::python_with("numpy, torch"); }
  void SetUp() override {
    if (interpreter_.empty()) GTEST_SKIP() << "no Python with numpy and torch";
  }

  // Runs a program in Python that can import pcxx_weights; `words` are its sys.argv[1:].
  static int run_python(const std::string& program, std::vector<std::string> words,
                        std::string& text) {
    const auto start = "import sys; sys.path.insert(0, '" PCXX_SOURCE_DIR
                       "/python')\n"
                       "import torch, pcxx_weights\n";
    words.insert(words.begin(), {interpreter_, "-c", start + program});
    return run_command(words, text);
  }

  static int run_script(std::vector<std::string> words, std::string& text) {
    words.insert(words.begin(), {interpreter_, kScript});
    return run_command(words, text);
  }

  static std::string interpreter_;
};
std::string PyTorch::interpreter_;

// Every activation, biases, residual layers, and networks side by side.
std::vector<nn::NetworkOptions> shapes() {
  std::vector<nn::DenseOptions> layers;
  for (const auto activation : {Activation::kTanh, Activation::kLeakyReLU, Activation::kReLU,
                                Activation::kIdentity, Activation::kSigmoid}) {
    const auto l = static_cast<std::int64_t>(layers.size());
    layers.push_back(nn::DenseOptions(7 + l, 8 + l).activation(activation).bias(l % 2 == 0));
  }
  const nn::NetworkOptions mixed(layers);
  auto residual = nn::mlp({6, 6, 6}, Activation::kTanh, Activation::kReLU).with_bias();
  for (auto& layer : residual.layers()) layer.residual(true);
  return {mixed, mixed.ensemble(3), residual, residual.ensemble(1), nn::linear_residual(5, 4)};
}

// Oracle: the library's own forward pass, of which Python sees only the numbers.
TEST_F(PyTorch, ComputesWhatTheLibraryComputes) {
  const at::NoGradGuard no_grad;
  const std::string program =
      "numbers, _ = pcxx_weights.read_safetensors(sys.argv[2])\n"
      "network = pcxx_weights.load(sys.argv[1])\n"
      "assert isinstance(network, torch.nn.Module)\n"
      "found = network(numbers['input'])\n"
      "assert found.shape == numbers['output'].shape, found.shape\n"
      "assert found.requires_grad\n"
      "print(float((found - numbers['output']).abs().max()))\n";
  for (const auto& shape : shapes()) {
    for (const auto& [dtype, tolerance] :
         {std::pair(at::kFloat, 1e-6), std::pair(at::kDouble, 1e-14)}) {
      const test::TemporaryFolder folder;
      auto network = test::random_network(shape);
      network->to(dtype);
      const auto input = test::random_batch(*network, 9).input.to(dtype);
      train::save_network(network, folder / "w.safetensors");
      {
        AtomicFile numbers(folder / "numbers.safetensors");
        train::write_safetensors(numbers.stream(),
                                 {{"input", input}, {"output", network->forward(input)}}, {});
        numbers.commit();
      }
      std::string text;
      ASSERT_EQ(run_python(program,
                           {(folder / "w.safetensors").string(),
                            (folder / "numbers.safetensors").string()},
                           text),
                0)
          << text;
      EXPECT_LT(std::stod(text), tolerance);
      EXPECT_GT(network->forward(input).abs().max().item<double>(), 0.1);
    }
  }
}

// Oracle: the same numbers in the network that PyTorch saved, and PyTorch's outputs.
TEST_F(PyTorch, SequentialsAreTakenByTheLibrary) {
  const test::TemporaryFolder folder;
  const std::string program =
      "from torch import nn\n"
      "torch.manual_seed(0)\n"
      "dtype = getattr(torch, sys.argv[3])\n"
      "net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 5, bias=False), "
      "nn.Tanh()), nn.Linear(5, 5), nn.LeakyReLU(), nn.Linear(5, 3), nn.Sigmoid()).to(dtype)\n"
      "x = torch.randn(8, 4, dtype=dtype)\n"
      "pcxx_weights.save(net, sys.argv[1], {'made by': 'hand'})\n"
      "assert pcxx_weights.load(sys.argv[1]).metadata['made by'] == 'hand'\n"
      "pcxx_weights.write_safetensors(sys.argv[2], {'input': x, 'output': net(x)}, {})\n";
  const nn::NetworkOptions shape(
      {nn::DenseOptions(4, 6).activation(Activation::kReLU).bias(true),
       nn::DenseOptions(6, 5).activation(Activation::kTanh),
       nn::DenseOptions(5, 5).activation(Activation::kLeakyReLU).bias(true),
       nn::DenseOptions(5, 3).activation(Activation::kSigmoid).bias(true)});
  const auto weights = folder / "w.safetensors";
  for (const auto& [name, dtype] :
       {std::pair("float32", at::kFloat), std::pair("float64", at::kDouble)}) {
    std::string text;
    ASSERT_EQ(run_python(program, {weights.string(), (folder / "n").string(), name}, text), 0)
        << text;
    nn::Network network(shape);
    network->to(dtype);
    train::load_network(network, weights);
    std::map<std::string, at::Tensor> numbers;
    for (const auto& [key, value] : train::read_safetensors(read_file(folder / "n"), "n").tensors) {
      numbers[key] = value;
    }
    const auto found = network->forward(numbers.at("input")).detach();
    EXPECT_LT((found - numbers.at("output")).abs().max().item<double>(),
              dtype == at::kFloat ? 1e-6 : 1e-14);
    EXPECT_EQ(folder.size(), 2U);
  }
}

// Contract: what the format cannot say, or pcxx cannot compute, is refused and writes nothing.
TEST_F(PyTorch, RefusesModulesThatPcxxHasNot) {
  const test::TemporaryFolder folder;
  const std::string program =
      "from torch import nn\n"
      "L = nn.Linear\n"
      "for net in (nn.Sequential(L(2, 2), nn.Softmax(-1)), nn.Sequential(L(2, 2), "
      "nn.LeakyReLU(0.2)), nn.Sequential(L(2, 2), nn.ReLU(), nn.ReLU()), nn.Sequential(nn.ReLU()), "
      "nn.Sequential(), nn.Sequential(L(2, 2).half()), nn.Sequential(L(2, 2), L(2, 2).double())):\n"
      "    try:\n"
      "        pcxx_weights.save(net, sys.argv[1])\n"
      "    except pcxx_weights.WeightsError as error:\n"
      "        print(error)\n";
  std::string text;
  ASSERT_EQ(run_python(program, {(folder / "w.safetensors").string()}, text), 0) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7) << text;
  EXPECT_EQ(folder.size(), 0U);
}

// The settings of a short run of a program on drawn digits.
std::vector<std::string> short_run(const std::string& program, const fs::path& out) {
  std::vector<std::string> command{PCXX_BINARY_DIR "/bin/pcxx-" + program, "--quiet", "--out",
                                   out.string()};
  for (const std::string setting :
       {"dataset=digits", "samples=64", "test_samples=32", "batch_size=16", "seeds=1"}) {
    command.insert(command.end(), {"--set", setting});
  }
  return command;
}

std::vector<std::string> and_set(std::vector<std::string> command,
                                 const std::vector<std::string>& settings) {
  for (const auto& setting : settings) command.insert(command.end(), {"--set", setting});
  return command;
}

// Oracle: the outputs that the programs left beside their weights.
TEST_F(PyTorch, AgreesWithThePredictionsOfRuns) {
  const test::Variable drawing("PCXX_PYTHON", "/nonexistent");
  for (const std::string name : {"autoencoder", "classifier"}) {
    if (!fs::exists(PCXX_BINARY_DIR "/bin/pcxx-" + name)) GTEST_SKIP() << name << " was not built";
    const test::TemporaryFolder folder;
    const auto out = folder / "run";
    std::string text;
    ASSERT_EQ(
        run_command(and_set(short_run(name, out), {"steps=3", "rule=[bp,pc]",
                                                   "dtype=[float32,float64]", "learning_rate=0.1"}),
                    text),
        0)
        << text;
    int checked = 0;
    for (const auto& entry : fs::directory_iterator(out)) {
      const auto file = entry.path().filename().string();
      if (!file.starts_with("weights")) continue;
      ASSERT_EQ(run_script({entry.path().string(), "--check", out.string()}, text), 0) << text;
      EXPECT_NE(text.find("largest difference from the outputs of pcxx: "), std::string::npos);
      ++checked;
    }
    EXPECT_EQ(checked, 4);
    // Weights of another run: the same names, other numbers.
    const auto one = out / "weights1-bp-none-seed0.safetensors";
    auto other =
        and_set(short_run(name, folder / "other"), {"steps=1", "rule=bp", "learning_rate=0.5"});
    ASSERT_EQ(run_command(other, text), 0) << text;
    EXPECT_EQ(run_script({one.string(), "--check", (folder / "other").string()}, text), 1) << text;
    EXPECT_EQ(run_script({one.string(), "--check", folder.path().string()}, text), 2) << text;
  }
}

// Oracle: PyTorch's own test of the network that the program loads and does not train.
TEST_F(PyTorch, WeightsGoIntoThePrograms) {
  const test::Variable drawing("PCXX_PYTHON", "/nonexistent");
  if (!fs::exists(PCXX_BINARY_DIR "/bin/pcxx-classifier")) GTEST_SKIP() << "not built";
  const test::TemporaryFolder folder;
  const auto weights = (folder / "theirs.safetensors").string();
  const auto out = folder / "run";
  std::string text;
  const std::string save =
      "from torch import nn\n"
      "torch.manual_seed(1)\n"
      "net = nn.Sequential(nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 10))\n"
      "pcxx_weights.save(net, sys.argv[1])\n";
  ASSERT_EQ(run_python(save, {weights}, text), 0) << text;
  auto command = and_set(short_run("classifier", out),
                         {"widths=[784,20,10]", "steps=0", "learning_rate=1", "rule=bp"});
  command.insert(command.end(), {"--load", weights});
  ASSERT_EQ(run_command(command, text), 0) << text;
  const std::string compare =
      "theirs = pcxx_weights.load(sys.argv[1])\n"
      "found, _ = pcxx_weights.read_safetensors(sys.argv[2] + '/predictions.safetensors')\n"
      "out = found['output.weights1-bp-none-seed0.safetensors']\n"
      "print(float((theirs(found['input.float32']) - out).abs().max()))\n";
  ASSERT_EQ(run_python(compare, {weights, out.string()}, text), 0) << text;
  EXPECT_LT(std::stod(text), 1e-6);

  command = and_set(command, {"widths=[784,21,10]"});
  EXPECT_EQ(run_command(command, text), 2);
  EXPECT_NE(text.find("theirs.safetensors"), std::string::npos) << text;
}

// Oracle: torch's own readers of both, and numpy's of the outputs.
TEST_F(PyTorch, ExportsToTorchAndNumpy) {
  const test::TemporaryFolder folder;
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  auto network = test::random_network(nn::mlp({3, 5, 2}, Activation::kReLU).with_bias());
  network->to(at::kFloat);
  train::save_network(network, path("w.safetensors"));
  std::string text;
  ASSERT_EQ(run_python("import numpy as np\n"
                       "np.save(sys.argv[1], np.random.default_rng(0).normal(size=(7, 3)))\n",
                       {path("x.npy")}, text),
            0)
      << text;
  for (const std::string kind : {"m.pt2", "m.pt"}) {
    ASSERT_EQ(run_script({path("w.safetensors"), "--inputs", path("x.npy"), "--outputs",
                          path("y.npy"), "--export", path(kind)},
                         text),
              0)
        << text;
  }
  const std::string compare =
      "import numpy as np\n"
      "x = torch.tensor(np.load(sys.argv[1]), dtype=torch.float32)\n"
      "y = torch.from_numpy(np.load(sys.argv[2]))\n"
      "state = torch.load(sys.argv[3])\n"
      "h = torch.relu(x @ state['layer1.weight'].T + state['layer1.bias'])\n"
      "by_hand = h @ state['layer2.weight'].T + state['layer2.bias']\n"
      "program = torch.export.load(sys.argv[4]).module()\n"
      "assert y.shape == (7, 2) and (by_hand - y).abs().max() < 1e-6\n"
      "assert (program(x) - y).abs().max() < 1e-6\n";
  EXPECT_EQ(run_python(compare, {path("x.npy"), path("y.npy"), path("m.pt"), path("m.pt2")}, text),
            0)
      << text;
  EXPECT_EQ(folder.size(), 5U);
}

// Contract: exit code 2 and one line that names the file.
TEST_F(PyTorch, RefusesWhatAreNoWeights) {
  const test::TemporaryFolder folder;
  const auto file = folder / "w.safetensors";
  const auto expect_refused = [&](const std::string& part) {
    std::string text;
    EXPECT_EQ(run_script({file.string()}, text), 2) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    EXPECT_NE(text.find("w.safetensors"), std::string::npos) << text;
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect_refused("No such file");
  const auto network = test::random_network(nn::mlp({3, 4, 2}));
  train::save_network(network, file);
  const auto bytes = read_file(file);
  write_file(file, bytes.substr(0, bytes.size() - 8));
  expect_refused("damaged");
  write_file(file, bytes.substr(0, 100));
  expect_refused("damaged");
  auto flipped = bytes;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  write_file(file, flipped);
  expect_refused("checksum");
  train::NamedTensors tensors;
  for (const auto& one : network->named_parameters()) tensors.emplace_back(one.key(), one.value());
  const auto write = [&](const std::map<std::string, std::string>& metadata) {
    AtomicFile other(file);
    train::write_safetensors(other.stream(), tensors, metadata);
    other.commit();
  };
  write({});
  expect_refused("does not say");
  write({{"layers", R"([{"in_features": 3, "out_features": 4, "activation": "softmax"}])"}});
  expect_refused("not known here");
  write({{"layers", R"([{"in_features": 3, "out_features": 5}, {"in_features": 5,
                         "out_features": 2}])"}});
  expect_refused("layer1.weight has the sizes (4, 3)");
  // As files of older versions describe themselves.
  write({{"widths", "3,4,2"}, {"activations", "identity,identity"}});
  std::string text;
  EXPECT_EQ(run_script({file.string()}, text), 0) << text;
}

}  // namespace
}  // namespace pcxx
