#include <pcxx/core/residency.h>
#include <pcxx/nn/network.h>
#include <torch/serialize/archive.h>

#include "nn/strict_load.h"

namespace pcxx::nn {

NetworkOptions NetworkOptions::ensemble(std::int64_t members) const {
  auto result = *this;
  for (auto& layer : result.layers()) layer.members(members);
  return result;
}

NetworkOptions NetworkOptions::with_bias() const {
  auto result = *this;
  for (auto& layer : result.layers()) layer.bias(true);
  return result;
}

NetworkOptions NetworkOptions::with_layer(std::size_t l, LayerMaker maker) const {
  TORCH_CHECK(l >= 1 && l <= layers_.size(), "a network of ", layers_.size(),
              " layers has no layer ", l);
  auto result = *this;
  result.own_layers()[l] = std::move(maker);
  return result;
}

NetworkOptions mlp(const std::vector<std::int64_t>& widths, Activation hidden, Activation output) {
  TORCH_CHECK(widths.size() >= 2, "a network needs at least two widths, not ", widths.size());
  std::vector<DenseOptions> layers;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    const bool last = l + 1 == widths.size();
    layers.push_back(DenseOptions(widths[l - 1], widths[l]).activation(last ? output : hidden));
  }
  return NetworkOptions(std::move(layers));
}

NetworkOptions linear_residual(std::int64_t width, std::int64_t layers) {
  TORCH_CHECK(layers >= 1, "a network needs at least one layer, not ", layers);
  return NetworkOptions(std::vector<DenseOptions>(static_cast<std::size_t>(layers),
                                                  DenseOptions(width, width).residual(true)));
}

NetworkImpl::NetworkImpl(NetworkOptions given) : options(std::move(given)) {
  const auto& layers = options.layers();
  TORCH_CHECK(!layers.empty(), "a network needs at least one layer");
  for (std::size_t l = 1; l < layers.size(); ++l) {
    TORCH_CHECK(layers[l].in_features() == layers[l - 1].out_features(), "layer ", l + 1, " takes ",
                layers[l].in_features(), " features, but layer ", l, " gives ",
                layers[l - 1].out_features());
    TORCH_CHECK(layers[l].members() == layers[l - 1].members(), "layers ", l, " and ", l + 1,
                " are ensembles of different sizes");
  }
  TORCH_CHECK(options.own_layers().empty() || members().value_or(1) == 1,
              "a network with layers that are not Dense is no ensemble of ", *members());
  NetworkImpl::reset();
}

// Children are made anew: re-registering the old ones would share parameters with a clone.
void NetworkImpl::reset() {
  layers_.clear();
  own_.clear();
  for (auto layer : options.layers()) {
    const auto name = "layer" + std::to_string(layers_.size() + 1);
    const auto maker = options.own_layers().find(layers_.size() + 1);
    if (maker == options.own_layers().end()) {
      layer.draw(layer.draw() && options.draw());
      layers_.push_back(register_module(name, Dense(layer)));
      own_.emplace_back();
      continue;
    }
    auto own = maker->second(layer.in_features(), layer.out_features());
    TORCH_CHECK(own && own->in_features() == layer.in_features() &&
                    own->out_features() == layer.out_features(),
                name, " is to map ", layer.in_features(), " to ", layer.out_features(),
                " features, and its maker gave none that does");
    if (options.draw()) {
      const at::NoGradGuard no_grad;
      own->draw_(at::globalContext().defaultGenerator(at::kCPU));
    }
    layers_.emplace_back(nullptr);
    own_.push_back(register_module(name, std::move(own)));
  }
}

const Dense& NetworkImpl::dense(std::size_t l) const {
  const auto& layer = layers_.at(l - 1);
  TORCH_CHECK(!layer.is_empty(), "layer ", l, " is not Dense");
  return layer;
}

void NetworkImpl::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Network";
}

torch::Tensor NetworkImpl::forward(const torch::Tensor& x) const {
  const auto dtype = tensor_options().dtype().toScalarType();
  TORCH_CHECK(x.scalar_type() == dtype, "the input is ", x.scalar_type(), ", but the weights are ",
              dtype);
  check_residency(x, device(), "the input");
  const bool one_batch = members() || x.dim() == 2;
  TORCH_CHECK(one_batch || (x.dim() > 0 && x.size(-1) == in_features()), "expected an input [.., ",
              in_features(), "], not one of shape ", x.sizes());
  auto activity = enter(one_batch ? x : x.reshape({-1, in_features()}), in_features());
  for (std::size_t l = 1; l <= size(); ++l) {
    activity = own_layer(l) ? output(*own_layer(l), activity) : layer(l).forward(activity);
  }
  if (one_batch) return activity;
  auto shape = x.sizes().vec();
  shape.back() = out_features();
  return activity.reshape(shape);
}

void NetworkImpl::load(torch::serialize::InputArchive& archive) {
  load_strictly(*this, archive);
}

bool NetworkImpl::is_linear() const {
  return is_dense() && std::all_of(layers_.begin(), layers_.end(), [](const Dense& layer) {
           return layer->options.activation() == Activation::kIdentity;
         });
}

bool NetworkImpl::is_piecewise_linear() const {
  return is_dense() && std::all_of(layers_.begin(), layers_.end(), [](const Dense& layer) {
           const auto f = layer->options.activation();
           return f == Activation::kIdentity || f == Activation::kReLU ||
                  f == Activation::kLeakyReLU;
         });
}

torch::TensorOptions NetworkImpl::tensor_options() const {
  for (const auto& layer : layers_) {
    if (!layer.is_empty()) return layer->weight.options();
  }
  for (const auto& parameter : parameters()) return parameter.options();
  return {};
}

torch::Device NetworkImpl::device() const {
  const auto device = tensor_options().device();
  for (std::size_t l = 1; l <= size(); ++l) {
    if (const auto* own = own_layer(l)) {
      for (const auto& parameter : own->parameters()) {
        check_residency(parameter, device, "a parameter of layer ", l);
      }
      continue;
    }
    check_residency(layer(l).weight, device, "the weight of layer ", l);
    check_residency(layer(l).bias, device, "the bias of layer ", l);
  }
  return device;
}

torch::Tensor NetworkImpl::enter(const torch::Tensor& x, std::int64_t features) const {
  const bool ensemble = members().has_value();
  TORCH_CHECK((x.dim() == 2 || (ensemble && x.dim() == 3)) && x.size(-1) == features,
              "expected a batch [B, ", features, "]", ensemble ? " or [R, B, n]" : "",
              ", not one of shape ", x.sizes());
  auto entered = x.to(device(), tensor_options().dtype().toScalarType());
  if (!ensemble) return entered;
  TORCH_CHECK(x.dim() == 2 || x.size(0) == *members(), "expected ", *members(),
              " members, not a batch of shape ", x.sizes());
  return entered.expand({*members(), x.size(-2), features});
}

}  // namespace pcxx::nn
