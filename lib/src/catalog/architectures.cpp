#include <pcxx/core/error.h>

#include <utility>

#include "catalog/registry.h"

namespace pcxx::catalog {
namespace {

using nn::Activation;
using Widths = std::vector<std::int64_t>;

ArchitecturePart part(std::string name, std::string doc,
                      std::function<nn::NetworkOptions(const Widths&, Activation)> make) {
  ArchitecturePart made;
  made.name = std::move(name);
  made.doc = std::move(doc);
  made.make = std::move(make);
  return made;
}

ArchitecturePart linear_part(std::string name, std::string doc,
                             std::function<nn::NetworkOptions(const Widths&)> make) {
  auto made = part(std::move(name), std::move(doc),
                   [make = std::move(make)](const Widths& n, Activation) { return make(n); });
  made.is_linear = true;
  return made;
}

nn::NetworkOptions residual(const Widths& n) {
  for (const auto width : n) {
    if (width == n.front()) continue;
    user_error("architecture = 'residual' needs layers of one width, not {} and {}", n.front(),
               width);
  }
  return nn::linear_residual(n.front(), static_cast<std::int64_t>(n.size()) - 1);
}

}  // namespace

std::vector<ArchitecturePart> architecture_parts() {
  return {
      linear_part("dln", "deep linear network", [](const Widths& n) { return nn::mlp(n); }),
      linear_part("residual", "linear residual network", residual),
      part("relu", "ReLU in the hidden layers",
           [](const Widths& n, Activation hidden) { return nn::mlp(n, hidden); }),
      part("autoencoder", "the same with a sigmoid output",
           [](const Widths& n, Activation hidden) {
             return nn::mlp(n, hidden, Activation::kSigmoid);
           }),
  };
}

}  // namespace pcxx::catalog
