#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/train/checkpoint.h>
#include <torch/torch.h>

#include "support/networks.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::train {
namespace {

namespace fs = std::filesystem;

using test::quoted;
using test::random_network;
using test::TemporaryFolder;

nn::NetworkOptions options() {
  return nn::mlp({3, 5, 4}, nn::Activation::kReLU);
}

std::vector<at::Tensor> copy_of(const nn::Network& network) {
  std::vector<at::Tensor> weights;
  for (const auto& weight : network->parameters()) weights.push_back(weight.detach().clone());
  return weights;
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const at::Tensor& x, const at::Tensor& y) { return at::equal(x, y); });
}

// The file is refused, in one sentence that names it and has `part`, and changes nothing.
void expect_refused(nn::Network network, const fs::path& path, const std::string& part = "") {
  const auto before = copy_of(network);
  const auto text = test::user_error_text([&] { load_network(network, path); });
  ASSERT_TRUE(text) << path << " was accepted";
  EXPECT_NE(text->find(quoted(path)), std::string::npos) << *text;
  EXPECT_NE(text->find(part), std::string::npos) << *text;
  EXPECT_TRUE(same(copy_of(network), before)) << *text;
}

// Oracle: the weights that were saved, bit for bit.
TEST(Checkpoint, ComesBackAsItWas) {
  const TemporaryFolder folder;
  const auto plain = options();
  for (const auto& shape : {plain, plain.with_bias(), plain.ensemble(3),
                            plain.with_bias().ensemble(2), nn::linear_residual(4, 2)}) {
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      auto saved = random_network(shape, 1);
      auto loaded = random_network(shape, 2);
      saved->to(dtype);
      loaded->to(dtype);
      ASSERT_FALSE(same(copy_of(saved), copy_of(loaded)));
      save_network(saved, folder / "w.pt");
      const auto parameters = loaded->parameters();
      load_network(loaded, folder / "w.pt");
      EXPECT_TRUE(same(copy_of(loaded), copy_of(saved)));
      // The same tensors, so that an optimizer that holds them goes on.
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        EXPECT_TRUE(parameters[i].is_same(loaded->parameters()[i]));
        EXPECT_TRUE(parameters[i].requires_grad());
      }
    }
  }
  EXPECT_EQ(folder.size(), 1U);
}

// Oracle: torch::save and torch::load, whose format it is.
TEST(Checkpoint, IsATorchArchive) {
  const TemporaryFolder folder;
  auto ours = random_network(options(), 1);
  auto theirs = random_network(options(), 2);
  save_network(ours, folder / "ours.pt");
  torch::load(theirs, folder / "ours.pt");
  EXPECT_TRUE(same(copy_of(theirs), copy_of(ours)));

  theirs = random_network(options(), 3);
  torch::save(theirs, folder / "theirs.pt");
  load_network(ours, folder / "theirs.pt");
  EXPECT_TRUE(same(copy_of(ours), copy_of(theirs)));
}

TEST(Checkpoint, RefusesAnotherNetwork) {
  const TemporaryFolder folder;
  const auto file = folder / "w.pt";
  save_network(random_network(options()), file);
  const auto sizes = [](std::vector<std::int64_t> n) { return nn::mlp(n, nn::Activation::kReLU); };
  expect_refused(random_network(sizes({3, 6, 4})), file, "layer1.weight is [5, 3], not [6, 3]");
  expect_refused(random_network(sizes({3, 5, 4, 4})), file, "no weight 'layer3.weight'");
  expect_refused(random_network(sizes({3, 5})), file, "'layer2.weight' more");
  expect_refused(random_network(options().with_bias()), file, "no weight 'layer1.bias'");
  expect_refused(random_network(options().ensemble(2)), file, "[5, 3], not [2, 5, 3]");
  // As many numbers in another order.
  expect_refused(random_network(sizes({5, 3, 4})), file, "[5, 3], not [3, 5]");

  save_network(random_network(options().with_bias()), file);
  expect_refused(random_network(options()), file, "'layer1.bias' more");

  auto single = random_network(options());
  single->to(at::kFloat);
  save_network(random_network(options()), file);
  expect_refused(single, file, "holds float64, and the network is float32");
  save_network(single, file);
  expect_refused(random_network(options()), file, "holds float32, and the network is float64");
}

TEST(Checkpoint, RefusesWeightsThatAreNotFinite) {
  const TemporaryFolder folder;
  for (const double value : {std::nan(""), HUGE_VAL}) {
    auto network = random_network(options());
    {
      const at::NoGradGuard no_grad;
      network->layer(2).weight[1][2] = value;
    }
    save_network(network, folder / "w.pt");
    expect_refused(random_network(options()), folder / "w.pt", "layer2.weight");
  }
}

TEST(Checkpoint, RefusesFilesThatAreNoNetwork) {
  const TemporaryFolder folder;
  const auto network = random_network(options());
  expect_refused(network, folder / "missing.pt");
  expect_refused(network, folder.path());
  write_file(folder / "empty", "");
  write_file(folder / "text", "layer1.weight = 3\n");
  expect_refused(network, folder / "empty");
  expect_refused(network, folder / "text");

  torch::optim::Adam adam(network->parameters());
  for (const auto& weight : network->parameters()) weight.mutable_grad() = at::ones_like(weight);
  adam.step();
  torch::save(adam, folder / "adam.pt");
  expect_refused(network, folder / "adam.pt");
  torch::save(at::ones({5, 3}), folder / "tensor.pt");
  expect_refused(network, folder / "tensor.pt");
}

// Invariant: a file that lost its end or a bit is refused, or what it lost did not matter. LibTorch
// takes flipped bits of weights silently.
TEST(Checkpoint, RefusesDamagedFiles) {
  const TemporaryFolder folder;
  const auto file = folder / "w.pt";
  auto saved = random_network(options());
  save_network(saved, file);
  const auto bytes = read_file(file);

  const auto network = random_network(options(), 2);
  for (std::size_t size = 0; size < bytes.size(); size += 97) {
    write_file(file, bytes.substr(0, size));
    expect_refused(network, file);
  }
  write_file(file, bytes.substr(0, bytes.size() - 1));
  expect_refused(network, file);

  int refused = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 5) {
    auto damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x20);
    write_file(file, damaged);
    const auto loaded = random_network(options(), 2);
    const auto before = copy_of(loaded);
    auto target = loaded;
    if (test::user_error_text([&] { load_network(target, file); })) {
      ++refused;
      EXPECT_TRUE(same(copy_of(loaded), before));
    } else {
      EXPECT_TRUE(same(copy_of(loaded), copy_of(saved))) << "byte " << i;
    }
  }
  EXPECT_GT(refused, 10);
}

TEST(Checkpoint, ReportsAPlaceThatCannotBeWritten) {
  const TemporaryFolder folder;
  const auto network = random_network(options());
  test::expect_user_error([&] { save_network(network, folder / "nowhere/w.pt"); }, "nowhere/w.pt");
  fs::create_directory(folder / "w.pt");
  test::expect_user_error([&] { save_network(network, folder / "w.pt"); }, "w.pt");
  EXPECT_EQ(folder.size(), 1U);
}

}  // namespace
}  // namespace pcxx::train
