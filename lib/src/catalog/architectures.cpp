#include <pcxx/core/error.h>
#include <pcxx/nn/activation_layer.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/scale.h>

#include <cmath>
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

using Layers = std::vector<std::shared_ptr<nn::Layer>>;

// c W f(x), or x + c W f(x).
nn::LayerMaker scaled(Activation f, double c, bool residual) {
  return [=](std::int64_t in, std::int64_t out) {
    Layers layers;
    if (f != Activation::kIdentity) layers.push_back(std::make_shared<nn::ActivationLayer>(in, f));
    layers.push_back(std::make_shared<nn::DenseImpl>(nn::DenseOptions(in, out).draw(false)));
    layers.push_back(std::make_shared<nn::Scale>(out, c));
    return std::make_shared<nn::Block>(std::move(layers), residual);
  };
}

// Of L weights and hidden layers of N units: W x / sqrt(n_0), x + W f(x) / sqrt(N L), W f(x) / N.
nn::NetworkOptions mupc(const Widths& n, Activation f) {
  const auto count = n.size() - 1;
  if (count < 2) user_error("architecture = 'mupc' needs at least one hidden layer");
  for (std::size_t l = 2; l < count; ++l) {
    if (n[l] == n[1]) continue;
    user_error("architecture = 'mupc' needs hidden layers of one width, not {} and {}", n[1], n[l]);
  }
  const auto width = static_cast<double>(n[1]);
  const double hidden = 1 / std::sqrt(width * static_cast<double>(count));
  const double input = 1 / std::sqrt(static_cast<double>(n[0]));
  auto options = nn::mlp(n).with_layer(1, scaled(Activation::kIdentity, input, false));
  for (std::size_t l = 2; l < count; ++l) options = options.with_layer(l, scaled(f, hidden, true));
  return options.with_layer(count, scaled(f, 1 / width, false));
}

ArchitecturePart mupc_part() {
  auto made = part("mupc",
                   "residual network with the scaling of muPC (Innocenti et al. 2025), hidden "
                   "layers of one width, init normal and no biases",
                   mupc);
  made.fixes = {{"init", "\"normal\""}, {"bias", "false"}};
  return made;
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
      mupc_part(),
  };
}

}  // namespace pcxx::catalog
