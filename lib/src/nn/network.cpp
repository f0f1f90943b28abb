#include <pcxx/core/residency.h>
#include <pcxx/nn/network.h>

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
  NetworkImpl::reset();
}

// Children are made anew: re-registering the old ones would share parameters with a clone.
void NetworkImpl::reset() {
  layers_.clear();
  for (const auto& layer : options.layers()) {
    layers_.push_back(register_module("layer" + std::to_string(layers_.size() + 1), Dense(layer)));
  }
}

void NetworkImpl::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Network";
}

torch::Tensor NetworkImpl::forward(const torch::Tensor& x) const {
  auto activity = enter(x, in_features());
  for (const auto& layer : layers_) activity = layer->forward(activity);
  return activity;
}

bool NetworkImpl::is_linear() const {
  return std::all_of(layers_.begin(), layers_.end(), [](const Dense& layer) {
    return layer->options.activation() == Activation::kIdentity;
  });
}

torch::Device NetworkImpl::device() const {
  const auto device = layer(1).weight.device();
  for (std::size_t l = 1; l <= size(); ++l) {
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
  auto entered = x.to(device(), layer(1).weight.scalar_type());
  if (!ensemble) return entered;
  TORCH_CHECK(x.dim() == 2 || x.size(0) == *members(), "expected ", *members(),
              " members, not a batch of shape ", x.sizes());
  return entered.expand({*members(), x.size(-2), features});
}

}  // namespace pcxx::nn
