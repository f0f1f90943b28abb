#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/io/checkpoint.h>
#include <torch/optim/adam.h>
#include <torch/serialize.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "support/file_error.h"
#include "support/networks.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::io {
namespace {

namespace fs = std::filesystem;

using test::quoted;
using test::random_network;
using test::TemporaryFolder;

nn::NetworkOptions options() {
  return nn::mlp({3, 5, 4}, nn::Activation::kReLU);
}

// The format is the same, whatever the name.
const std::string kNames[] = {"w.pt", "w.safetensors"};

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
      for (const auto& name : kNames) {
        auto target = nn::Network(std::dynamic_pointer_cast<nn::NetworkImpl>(loaded->clone()));
        save_network(saved, folder / name);
        const auto parameters = target->parameters();
        load_network(target, folder / name);
        EXPECT_TRUE(same(copy_of(target), copy_of(saved)));
        // The same tensors, so that an optimizer that holds them goes on.
        for (std::size_t i = 0; i < parameters.size(); ++i) {
          EXPECT_TRUE(parameters[i].is_same(target->parameters()[i]));
          EXPECT_TRUE(parameters[i].requires_grad());
        }
      }
    }
  }
  EXPECT_EQ(folder.size(), 2U);
}

// Contract: an archive of PyTorch, whose reader runs the code in it, is not read, whatever its
// name; the sentence names what makes weights of it.
TEST(Checkpoint, RefusesTorchArchives) {
  const TemporaryFolder folder;
  const auto network = random_network(options(), 1);
  for (const std::string name : {"theirs.pt", "theirs.safetensors"}) {
    torch::save(network, folder / name);
    expect_refused(random_network(options(), 2), folder / name, "python/pcxx_weights.py");
  }
}

TEST(Checkpoint, RefusesAnotherNetwork) {
  const auto sizes = [](std::vector<std::int64_t> n) { return nn::mlp(n, nn::Activation::kReLU); };
  auto single = random_network(options());
  single->to(at::kFloat);
  for (const auto& name : kNames) {
    const TemporaryFolder folder;
    const auto file = folder / name;
    save_network(random_network(options()), file);
    expect_refused(random_network(sizes({3, 6, 4})), file, "layer1.weight is [5, 3], not [6, 3]");
    expect_refused(random_network(sizes({3, 5, 4, 4})), file, "no weight 'layer3.weight'");
    expect_refused(random_network(sizes({3, 5})), file, "'layer2.weight' more");
    expect_refused(random_network(options().with_bias()), file, "no weight 'layer1.bias'");
    expect_refused(random_network(options().ensemble(2)), file, "[5, 3], not [2, 5, 3]");
    // As many numbers in another order.
    expect_refused(random_network(sizes({5, 3, 4})), file, "[5, 3], not [3, 5]");
    expect_refused(single, file, "holds float64, and the network is float32");

    save_network(random_network(options().with_bias()), file);
    expect_refused(random_network(options()), file, "'layer1.bias' more");
    save_network(single, file);
    expect_refused(random_network(options()), file, "holds float32, and the network is float64");
  }
}

TEST(Checkpoint, RefusesWeightsThatAreNotFinite) {
  const TemporaryFolder folder;
  for (const double value : {std::nan(""), HUGE_VAL}) {
    auto network = random_network(options());
    {
      const at::NoGradGuard no_grad;
      network->dense(2).weight[1][2] = value;
    }
    for (const auto& name : kNames) {
      save_network(network, folder / name);
      expect_refused(random_network(options()), folder / name, "layer2.weight that is not finite");
    }
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
  auto saved = random_network(options());
  const auto network = random_network(options(), 2);
  for (const auto& name : kNames) {
    const TemporaryFolder folder;
    const auto file = folder / name;
    save_network(saved, file);
    const auto bytes = read_file(file);
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
}

// ---- Safetensors --------------------------------------------------------------------------------

// A file of 64-bit numbers, made by hand.
using Numbers = std::vector<std::pair<std::string, at::Tensor>>;
std::string by_hand(const Numbers& numbers, const std::string& metadata, std::size_t padded = 0) {
  std::string header = "{" + metadata;
  std::string data;
  for (const auto& [name, tensor] : numbers) {
    header += fmt::format(R"({}"{}":{{"dtype":"F64","shape":[{}],"data_offsets":[{},{}]}})",
                          header == "{" ? "" : ",", name, fmt::join(tensor.sizes(), ","),
                          data.size(), data.size() + tensor.nbytes());
    data.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  header += "}";
  header.resize(std::max(header.size(), padded), ' ');
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  return length + header + data;
}

Numbers numbers_of(const nn::Network& network) {
  Numbers numbers;
  for (const auto& weight : network->named_parameters()) {
    numbers.emplace_back(weight.key(), weight.value().detach());
  }
  return numbers;
}

// Oracle: the weights that were written down. Neither a checksum nor the ending of the name nor an
// order is asked for, and the length of a header may look like the beginning of a zip file.
TEST(Checkpoint, TakesSafetensorsOfOtherPrograms) {
  const TemporaryFolder folder;
  const auto theirs = random_network(options().with_bias(), 1);
  auto numbers = numbers_of(theirs);
  std::reverse(numbers.begin(), numbers.end());
  for (const std::size_t padded : {0, 4096, 'P' + 256 * 'K'}) {
    for (const std::string name : {"w.safetensors", "w.pt", "weights"}) {
      SCOPED_TRACE(fmt::format("{} {}", name, padded));
      write_file(folder / name, by_hand(numbers, R"("__metadata__":{"format":"pt"})", padded));
      auto ours = random_network(options().with_bias(), 2);
      load_network(ours, folder / name);
      EXPECT_TRUE(same(copy_of(ours), copy_of(theirs)));
    }
  }
}

// Oracle: the same file with the right checksum, which is taken.
TEST(Checkpoint, RefusesSafetensorsWithAnotherChecksum) {
  const TemporaryFolder folder;
  const auto file = folder / "w.safetensors";
  const auto saved = random_network(options(), 1);
  save_network(saved, file);
  const auto text = read_file(file);
  const auto begin = text.find(R"("crc32":")");
  ASSERT_NE(begin, std::string::npos);
  const auto right = text.substr(begin, text.find('"', begin + 9) + 1 - begin);
  auto ours = random_network(options(), 2);
  write_file(file, by_hand(numbers_of(saved), R"("__metadata__":{)" + right + "}"));
  load_network(ours, file);
  EXPECT_TRUE(same(copy_of(ours), copy_of(saved)));
  for (const std::string wrong : {"0", "-1", "", "none", "99999999999999999999"}) {
    write_file(file, by_hand(numbers_of(saved), R"("__metadata__":{"crc32":")" + wrong + "\"}"));
    expect_refused(random_network(options(), 3), file, "checksum");
  }
}

// Oracle: the network itself. Texts of the caller's stand beside these and do not replace them.
TEST(Checkpoint, SafetensorsDescribeTheNetwork) {
  const TemporaryFolder folder;
  const auto file = folder / "w.safetensors";
  const auto metadata = [&](const nn::NetworkOptions& shape) {
    save_network(random_network(shape), file, {{"seed", "7"}, {"widths", "none"}});
    const auto bytes = read_file(file);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    auto texts = nlohmann::json::parse(bytes.substr(8, length))["__metadata__"];
    EXPECT_EQ(texts.count("crc32"), 1U);
    texts.erase("crc32");
    return texts;
  };
  EXPECT_EQ(metadata(options()),
            (nlohmann::json{{"widths", "3,5,4"},
                            {"activations", "relu,identity"},
                            {"loss", "squared_error"},
                            {"layers", R"([{"in_features":3,"out_features":5,"activation":"relu",)"
                                       R"("bias":false,"residual":false},)"
                                       R"({"in_features":5,"out_features":4,)"
                                       R"("activation":"identity","bias":false,)"
                                       R"("residual":false}])"},
                            {"seed", "7"}}));
  const auto residual = metadata(nn::linear_residual(4, 3).with_bias().ensemble(2));
  EXPECT_EQ(residual["residual"], "true,true,true");
  const auto layers = nlohmann::json::parse(residual["layers"].get<std::string>());
  ASSERT_EQ(layers.size(), 3U);
  for (const auto& layer : layers) {
    EXPECT_EQ(layer, (nlohmann::json{{"in_features", 4},
                                     {"out_features", 4},
                                     {"activation", "identity"},
                                     {"bias", true},
                                     {"residual", true},
                                     {"members", 2}}));
  }
}

// Contract: a description of other layers is refused also where all sizes fit, as one that is none.
TEST(Checkpoint, RefusesOtherLayersOfTheSameSizes) {
  const TemporaryFolder folder;
  const auto file = folder / "w.safetensors";
  const auto square = nn::mlp({4, 4, 4}, nn::Activation::kTanh);
  save_network(random_network(square), file);
  expect_refused(random_network(nn::mlp({4, 4, 4}, nn::Activation::kReLU)), file,
                 R"(layer 1 has activation "tanh", not "relu")");
  expect_refused(random_network(nn::linear_residual(4, 2)), file, "layer 1 has activation");
  save_network(random_network(nn::linear_residual(4, 2)), file);
  expect_refused(random_network(nn::mlp({4, 4, 4})), file, "layer 1 has residual true, not false");

  const auto network = random_network(square);
  const std::pair<std::string, std::string> texts[] = {
      {"", "damaged"},      {"layers", "damaged"}, {"{}", "damaged"},
      {"[3,4]", "damaged"}, {"[]", "0 layers"},    {"[{},{}]", "layer 1 has in_features none"}};
  for (const auto& [text, part] : texts) {
    write_file(file, by_hand(numbers_of(network), R"("__metadata__":{"layers":")" + text + "\"}"));
    expect_refused(random_network(square, 2), file, part);
  }
}

// Oracle: /dev/full, which refuses every byte as a full disk does; the old file stays.
TEST(Checkpoint, AFullDiskKeepsTheOldSafetensors) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const TemporaryFolder folder;
  const auto path = folder / "w.safetensors";
  const auto old = random_network(options(), 1);
  save_network(old, path);
  const auto write_to_full_disk = [&] {
    AtomicFile file(path);
    fs::create_symlink("/dev/full", file.temporary());
    write_network(file.stream(), random_network(options(), 2));
    file.commit();
  };
  test::expect_file_error(write_to_full_disk, quoted(path), "No space left on device");
  auto loaded = random_network(options(), 3);
  load_network(loaded, path);
  EXPECT_TRUE(same(copy_of(loaded), copy_of(old)));
  EXPECT_EQ(folder.size(), 1U);
}

TEST(Checkpoint, ReportsAPlaceThatCannotBeWritten) {
  const TemporaryFolder folder;
  const auto network = random_network(options());
  for (const auto& name : kNames) {
    const auto nowhere = folder / "nowhere" / name;
    test::expect_user_error([&] { save_network(network, nowhere); }, quoted(nowhere));
    fs::create_directory(folder / name);
    test::expect_user_error([&] { save_network(network, folder / name); }, name);
  }
  EXPECT_EQ(folder.size(), 2U);
}

}  // namespace
}  // namespace pcxx::io
