// Saved weights in PyTorch, and weights of PyTorch in the programs, where a Python with torch is
// found.

#include <gtest/gtest.h>
#include <pcxx/io/checkpoint.h>
#include <pcxx/io/safetensors.h>
#include <torch/serialize.h>

#include <map>
#include <sstream>

#include "support/environment.h"
#include "support/networks.h"
#include "support/python.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using nn::Activation;
using test::run_command;

class PyTorch : public testing::Test {
 protected:
  static void SetUpTestSuite() { interpreter_ = test::python_with("numpy, torch"); }
  void SetUp() override {
    if (interpreter_.empty()) GTEST_SKIP() << "no Python with numpy and torch";
  }

  // Runs a program in Python that can import pcxx_weights; `words` are its sys.argv[1:].
  static int run_python(const std::string& program, std::vector<std::string> words,
                        std::string& text) {
    const auto* start = "import sys; sys.path.insert(0, '" PCXX_SOURCE_DIR
                        "/python')\n"
                        "import torch, pcxx_weights\n";
    words.insert(words.begin(), {interpreter_, "-c", start + program});
    return run_command(words, text);
  }

  static std::string interpreter_;
};
std::string PyTorch::interpreter_;

void write_numbers(const fs::path& path, const io::NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata = {}) {
  AtomicFile file(path);
  io::write_safetensors(file.stream(), tensors, metadata);
  file.commit();
}

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
      "for weights, numbers in zip(sys.argv[1::2], sys.argv[2::2]):\n"
      "    numbers, _ = pcxx_weights.read_safetensors(numbers)\n"
      "    network = pcxx_weights.load(weights)\n"
      "    assert isinstance(network, torch.nn.Module)\n"
      "    found = network(numbers['input'])\n"
      "    assert found.shape == numbers['output'].shape, found.shape\n"
      "    assert found.requires_grad\n"
      "    print(float((found - numbers['output']).abs().max()))\n";
  const test::TemporaryFolder folder;
  std::vector<std::string> files;
  std::vector<double> tolerances;
  for (const auto& shape : shapes()) {
    for (const auto& [dtype, tolerance] :
         {std::pair(at::kFloat, 1e-6), std::pair(at::kDouble, 1e-14)}) {
      auto network = test::random_network(shape);
      network->to(dtype);
      const auto input = test::random_batch(*network, 9).input.to(dtype);
      const auto output = network->forward(input);
      EXPECT_GT(output.abs().max().item<double>(), 0.1);
      tolerances.push_back(tolerance);
      const auto name = (folder / std::to_string(tolerances.size())).string();
      files.insert(files.end(), {name + ".safetensors", name});
      io::save_network(network, files[files.size() - 2]);
      write_numbers(files.back(), {{"input", input}, {"output", output}});
    }
  }
  std::string text;
  ASSERT_EQ(run_python(program, files, text), 0) << text;
  std::istringstream differences(text);
  for (const double tolerance : tolerances) {
    double difference = -1;
    differences >> difference;
    EXPECT_LT(difference, tolerance);
    EXPECT_GE(difference, 0);
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
    io::load_network(network, weights);
    std::map<std::string, at::Tensor> numbers;
    for (const auto& [key, value] : io::read_safetensors(read_file(folder / "n"), "n").tensors) {
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
      "nn.LeakyReLU(0.2)), nn.Sequential(L(2, 2), nn.ReLU(), nn.ELU()), nn.Sequential(nn.ReLU()), "
      "nn.Sequential(), nn.Sequential(L(2, 2).half()), nn.Sequential(L(2, 2), L(2, 2).double()), "
      "nn.Sequential(L(2, 2), nn.ReLU(), nn.BatchNorm1d(2), L(2, 2))):\n"
      "    try:\n"
      "        pcxx_weights.save(net, sys.argv[1])\n"
      "    except pcxx_weights.WeightsError as error:\n"
      "        print(error)\n";
  std::string text;
  ASSERT_EQ(run_python(program, {(folder / "w.safetensors").string()}, text), 0) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 8) << text;
  EXPECT_NE(text.find("pcxx has no layer BatchNorm1d"), std::string::npos) << text;
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

// Oracle: the outputs that the programs left beside their weights; in other runs they differ.
TEST_F(PyTorch, AgreesWithThePredictionsOfRuns) {
  const test::Variable drawing("PCXX_PYTHON", "/nonexistent");
  for (const std::string name : {"autoencoder", "classifier"}) {
    const test::TemporaryFolder folder;
    const auto out = folder / "run";
    const auto other = folder / "other";
    std::string text;
    ASSERT_EQ(
        run_command(and_set(short_run(name, out), {"steps=3", "rule=[bp,pc]",
                                                   "dtype=[float32,float64]", "learning_rate=0.1"}),
                    text),
        0)
        << text;
    ASSERT_EQ(
        run_command(and_set(short_run(name, other), {"steps=1", "rule=bp", "learning_rate=0.5"}),
                    text),
        0)
        << text;
    const std::string program =
        "from pathlib import Path\n"
        "files = sorted(Path(sys.argv[1]).glob('weights*'))\n"
        "codes = [pcxx_weights.main([str(f), '--check', sys.argv[1]]) for f in files]\n"
        "codes += [pcxx_weights.main([str(files[0]), '--check', f]) for f in sys.argv[2:]]\n"
        "print('codes', *codes)\n";
    ASSERT_EQ(run_python(program, {out.string(), other.string(), folder.path().string()}, text), 0)
        << text;
    EXPECT_NE(text.find("codes 0 0 0 0 1 2\n"), std::string::npos) << text;
  }
}

// Oracle: PyTorch's own test of the network that the program loads and does not train.
TEST_F(PyTorch, WeightsGoIntoThePrograms) {
  const test::Variable drawing("PCXX_PYTHON", "/nonexistent");
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
  const auto saved = (out / "weights1-bp-none-seed0.safetensors").string();
  const std::string script = PCXX_SOURCE_DIR "/python/pcxx_weights.py";
  EXPECT_EQ(run_command({interpreter_, script, saved, "--check", out.string()}, text), 0) << text;

  command = and_set(command, {"widths=[784,21,10]"});
  EXPECT_EQ(run_command(command, text), 2);
  EXPECT_NE(text.find("theirs.safetensors"), std::string::npos) << text;
}

// Oracle: the layers by hand, torch's own readers of both exports, and numpy's of the outputs.
TEST_F(PyTorch, ExportsToTorchAndNumpy) {
  const test::TemporaryFolder folder;
  const auto weights = (folder / "w.safetensors").string();
  auto network = test::random_network(nn::mlp({3, 5, 2}, Activation::kReLU).with_bias());
  network->to(at::kFloat);
  io::save_network(network, weights);
  const std::string program =
      "import numpy as np\n"
      "w, folder = sys.argv[1:]\n"
      "x, y, pt, pt2 = (folder + name for name in ('/x.npy', '/y.npy', '/m.pt', '/m.pt2'))\n"
      "np.save(x, np.random.default_rng(0).normal(size=(7, 3)))\n"
      "for export in (pt, pt2):\n"
      "    words = [w, '--inputs', x, '--outputs', y, '--export', export]\n"
      "    assert pcxx_weights.main(words) == 0\n"
      "x = torch.tensor(np.load(x), dtype=torch.float32)\n"
      "y = torch.from_numpy(np.load(y))\n"
      "state = torch.load(pt)\n"
      "h = torch.relu(x @ state['layer1.weight'].T + state['layer1.bias'])\n"
      "by_hand = h @ state['layer2.weight'].T + state['layer2.bias']\n"
      "program = torch.export.load(pt2).module()\n"
      "assert y.shape == (7, 2) and (by_hand - y).abs().max() < 1e-6\n"
      "assert (program(x) - y).abs().max() < 1e-6\n"
      "words = [w, '--inputs', folder + '/y.npy', '--outputs', folder + '/z.npy']\n"
      "assert pcxx_weights.main(words) == 2\n"
      "assert pcxx_weights.main([w, '--export', folder + '/m.onnx']) == 2\n";
  std::string text;
  EXPECT_EQ(run_python(program, {weights, folder.path().string()}, text), 0) << text;
  EXPECT_EQ(folder.size(), 5U);
}

// tests/python/pcxx_weights_test.py has the oracles.
TEST_F(PyTorch, Files) {
  std::string text;
  EXPECT_EQ(run_command({interpreter_, PCXX_SOURCE_DIR "/tests/python/pcxx_weights_test.py"}, text),
            0)
      << text;
}

// What an older version of this library left of a job: its tensors by number, their names as JSON.
void write_older_part(const fs::path& path, const std::string& prefix, const nn::Network& network) {
  torch::serialize::OutputArchive archive;
  std::string names = R"(["tested_at")";
  archive.write("tensor0", at::arange(3));
  int count = 0;
  for (const auto& weight : network->named_parameters()) {
    archive.write("tensor" + std::to_string(++count), weight.value());
    names += ",\"" + prefix + weight.key() + '"';
  }
  archive.write("names", c10::IValue(names + "]"));
  archive.write("crc32", c10::IValue(std::int64_t{7}));
  archive.save_to(path.string());
}

// Oracle: the weights that were written, as this library reads what the converter made of them.
TEST_F(PyTorch, ArchivesOfOlderVersionsAreConverted) {
  const test::TemporaryFolder folder;
  const auto shape = nn::mlp({3, 5, 2}, Activation::kReLU).with_bias();
  const auto network = test::random_network(shape, 1);
  torch::save(network, folder / "network.pt");
  write_older_part(folder / "part.pt", "weight.", network);
  write_older_part(folder / "checkpoint.pt", "state.weight.", network);
  for (const std::string name : {"network", "part", "checkpoint"}) {
    SCOPED_TRACE(name);
    const auto older = (folder / (name + ".pt")).string();
    const auto newer = (folder / (name + ".safetensors")).string();
    std::string text;
    ASSERT_EQ(run_command({interpreter_, PCXX_SOURCE_DIR "/python/pcxx_weights.py", older,
                           "--convert", newer},
                          text),
              0)
        << text;
    auto found = test::random_network(shape, 2);
    io::load_network(found, newer);
    for (std::size_t i = 0; i < network->parameters().size(); ++i) {
      EXPECT_TRUE(at::equal(found->parameters()[i], network->parameters()[i]));
    }
  }
}

// Contract: a TorchScript archive that would write to a file while it is read is refused by
// --load, and writes nothing.
TEST_F(PyTorch, ProgramsRunNothingOfAFileOfWeights) {
  const test::TemporaryFolder folder;
  const test::CurrentFolder current(folder.path());
  const test::Variable drawing("PCXX_PYTHON", "/nonexistent");
  write_file("victim.txt", "precious");
  write_file("script.py",
             "import torch\n"
             "class Script(torch.nn.Module):\n"
             "    def __init__(self):\n"
             "        super().__init__()\n"
             "        self.b = torch.tensor(list(b'overwritten'), dtype=torch.uint8)\n"
             "    def forward(self, x):\n"
             "        return x\n"
             "    @torch.jit.export\n"
             "    def __getstate__(self):\n"
             "        return self.b, self.training\n"
             "    @torch.jit.export\n"
             "    def __setstate__(self, s: tuple[torch.Tensor, bool]) -> None:\n"
             "        self.training = s[1]\n"
             "        f = torch.from_file('victim.txt', True, s[0].numel(), dtype=torch.uint8)\n"
             "        f.copy_(s[0])\n"
             "        self.b = f\n"
             "torch.jit.script(Script()).save('w.safetensors')\n");
  std::string text;
  ASSERT_EQ(run_command({interpreter_, "script.py"}, text), 0) << text;
  for (const std::string name : {"autoencoder", "classifier"}) {
    auto command = and_set(short_run(name, "run"), {"steps=1", "rule=bp", "learning_rate=0.1"});
    command.insert(command.end(), {"--load", "w.safetensors"});
    EXPECT_EQ(run_command(command, text), 2);
    EXPECT_NE(text.find("python/pcxx_weights.py"), std::string::npos) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  }
  EXPECT_EQ(read_file("victim.txt"), "precious");
}

// Contract: exit code 2 and one line that names the file and what is wrong.
TEST_F(PyTorch, RefusesWhatAreNoWeights) {
  const test::TemporaryFolder folder;
  std::vector<std::string> files;
  std::vector<std::string> parts;
  const auto refused = [&](const std::string& part) {
    parts.push_back(part);
    files.push_back((folder / ("w" + std::to_string(files.size()))).string());
    return files.back();
  };
  refused("No such file");
  const auto network = test::random_network(nn::mlp({3, 4, 2}));
  io::save_network(network, folder / "whole.safetensors");
  const auto bytes = read_file(folder / "whole.safetensors");
  write_file(refused("damaged"), bytes.substr(0, bytes.size() - 8));
  write_file(refused("damaged"), bytes.substr(0, 100));
  auto flipped = bytes;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  write_file(refused("checksum"), flipped);
  io::NamedTensors tensors;
  for (const auto& one : network->named_parameters()) tensors.emplace_back(one.key(), one.value());
  write_numbers(refused("does not say"), tensors);
  write_numbers(
      refused("not known here"), tensors,
      {{"layers", R"([{"in_features": 3, "out_features": 4, "activation": "softmax"}])"}});
  write_numbers(refused("layer1.weight has the sizes (4, 3)"), tensors,
                {{"layers", R"([{"in_features": 3, "out_features": 5},
                                {"in_features": 5, "out_features": 2}])"}});
  // As files of older versions describe themselves.
  const auto older = (folder / "older").string();
  write_numbers(older, tensors, {{"widths", "3,4,2"}, {"activations", "identity,identity"}});
  files.push_back(older);

  std::string text;
  ASSERT_EQ(
      run_python("print('codes', *[pcxx_weights.main([f]) for f in sys.argv[1:]])\n", files, text),
      0);
  EXPECT_NE(text.find("codes 2 2 2 2 2 2 2 0\n"), std::string::npos) << text;
  std::istringstream lines(text.substr(text.find("codes")));
  std::string line;
  std::getline(lines, line);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    ASSERT_TRUE(std::getline(lines, line)) << text;
    EXPECT_NE(line.find(files[i]), std::string::npos) << line;
    EXPECT_NE(line.find(parts[i]), std::string::npos) << line;
  }
  EXPECT_FALSE(std::getline(lines, line)) << line;
}

}  // namespace
}  // namespace pcxx
