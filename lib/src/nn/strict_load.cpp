#include "nn/strict_load.h"

#include <torch/serialize/archive.h>

#include <set>

namespace pcxx::nn {
namespace {

void check(const torch::nn::Module& module, torch::serialize::InputArchive& archive,
           const std::string& prefix) {
  std::set<std::string> known;
  for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
    const auto name = prefix + parameter.key();
    at::Tensor saved;
    TORCH_CHECK(archive.try_read(parameter.key(), saved), "the archive holds no ", name);
    TORCH_CHECK(saved.sizes() == parameter.value().sizes(), "the archive's ", name, " is ",
                saved.sizes(), ", not ", parameter.value().sizes());
    known.insert(parameter.key());
  }
  for (const auto& buffer : module.named_buffers(/*recurse=*/false)) known.insert(buffer.key());
  for (const auto& child : module.named_children()) {
    torch::serialize::InputArchive part;
    TORCH_CHECK(archive.try_read(child.key(), part), "the archive holds no ", prefix, child.key());
    check(*child.value(), part, prefix + child.key() + ".");
    known.insert(child.key());
  }
  for (const auto& key : archive.keys()) {
    at::Tensor tensor;
    torch::serialize::InputArchive part;
    const bool counts = archive.try_read(key, tensor) || archive.try_read(key, part);
    TORCH_CHECK(!counts || known.contains(key), "the archive holds ", prefix, key,
                ", which is not there to be loaded");
  }
}

}  // namespace

void load_strictly(torch::nn::Module& module, torch::serialize::InputArchive& archive) {
  check(module, archive, "");
  module.torch::nn::Module::load(archive);
}

}  // namespace pcxx::nn
