#pragma once

#include <pcxx/nn/dense.h>
#include <pcxx/nn/layer.h>
#include <pcxx/nn/loss.h>

#include <cstddef>
#include <map>
#include <vector>

namespace pcxx::nn {
class NetworkImpl;
}  // namespace pcxx::nn

namespace torch::detail {
/// As in nn/dense.h.
template <>
struct has_forward<pcxx::nn::NetworkImpl> : std::true_type {};
}  // namespace torch::detail

namespace pcxx::nn {

/// Makers of the layers l = 1..L that are not Dense, by l.
using CustomLayers = std::map<std::size_t, LayerMaker>;

/// Layers 1..L of a network, as data: `Network(mlp({784, 128, 10}, Activation::kReLU))`.
struct NetworkOptions {
  /// Layer l maps n_{l-1} to n_l features; consecutive layers must fit.
  explicit NetworkOptions(std::vector<DenseOptions> layers) : layers_(std::move(layers)) {}

  /// The same network as an ensemble of R independent members.
  NetworkOptions ensemble(std::int64_t members) const;
  /// The same network with biases, all starting at 0.
  NetworkOptions with_bias() const;
  /// The same network with layer l = 1..L made by `maker`, of the same widths, in place of a Dense.
  NetworkOptions with_layer(std::size_t l, LayerMaker maker) const;
  /// True when every layer is a linear Dense one.
  bool is_linear() const;
  /// True when some layer has a bias, as far as its options say.
  bool has_bias() const;

  TORCH_ARG(std::vector<DenseOptions>, layers);
  /// By l, the layers that are not Dense.
  TORCH_ARG(CustomLayers, custom_layers);
  /// What the network's predictions are wrong by.
  TORCH_ARG(std::shared_ptr<const Loss>, loss) = squared_error();
  /// The constructor draws the weights of all layers; if not, those of Dense layers are zeros.
  TORCH_ARG(bool, draw) = true;
};

/// Widths n_0..n_L with one activation for the hidden layers and one for the output.
NetworkOptions mlp(const std::vector<std::int64_t>& widths,
                   Activation hidden = Activation::kIdentity,
                   Activation output = Activation::kIdentity);

/// Linear residual network (appendix I): every layer is x + W x, all widths equal.
NetworkOptions linear_residual(std::int64_t width, std::int64_t layers);

/// A feed-forward network of Dense layers, optionally an ensemble of R of them (one more leading
/// dimension everywhere). Holds parameters and nothing of a batch. Layers may also be of other
/// kinds (nn/layer.h); such a network is at most an ensemble of one.
///
///   auto net = Network(mlp({784, 128, 32, 128, 784}, Activation::kReLU, Activation::kSigmoid));
///   auto prediction = net->forward(images);   // [B, 784]
///
/// Weights are drawn as torch::nn::Linear draws its own, by the generator that torch::manual_seed
/// sets; `nn::init` draws others, with any generator. A module like LibTorch's own: it stands in a
/// torch::nn::Sequential, AnyModule or ModuleList, and nn/sequential.h makes one of a Sequential.
/// Children are called layer1..layerL, so a parameter is for example "layer2.weight".
class NetworkImpl : public torch::nn::Cloneable<NetworkImpl> {
 public:
  explicit NetworkImpl(NetworkOptions options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// Prediction yhat [.., n_L] for x [.., n_0] as torch::nn::Linear takes it, [n_0] and [A, B, n_0]
  /// included; in an ensemble [R, B, n_L] for x [R, B, n_0], or [B, n_0], which serves every
  /// member. Differentiable by autograd. Throws c10::Error for another dtype or device than the
  /// weights'.
  torch::Tensor forward(const torch::Tensor& x) const;
  torch::Tensor forward(const torch::Tensor& x) { return std::as_const(*this).forward(x); }

  /// Throws c10::Error, and changes nothing, where the archive holds other layers, parameters or
  /// shapes: `Module::load` takes them silently.
  void load(torch::serialize::InputArchive& archive) override;

  /// Number of weight matrices L.
  std::size_t size() const { return layers_.size(); }
  /// Layer l = 1..L, as the paper counts.
  const Layer& layer(std::size_t l) const { return *layers_.at(l - 1); }
  Layer& layer(std::size_t l) { return *layers_.at(l - 1); }
  /// Layer l as the Dense one that it is. Throws c10::Error where it is of another kind.
  const DenseImpl& dense(std::size_t l) const;
  DenseImpl& dense(std::size_t l);

  const Loss& loss() const { return *options.loss(); }
  /// Minus the gradient of the loss in a prediction. target: as the network takes it.
  torch::Tensor residual(const torch::Tensor& prediction, const torch::Tensor& target) const {
    return loss().residual(prediction, target);
  }
  std::int64_t in_features() const { return options.layers().front().in_features(); }
  std::int64_t out_features() const { return options.layers().back().out_features(); }
  /// R of an ensemble, nullopt for a single network.
  std::optional<std::int64_t> members() const { return options.layers().front().members(); }
  /// True when every layer is linear (with or without residual and bias).
  bool is_linear() const;
  /// True when every layer is known to be linear in pieces, as sigmoid and tanh are not.
  bool is_piecewise_linear() const;
  /// dtype and device of the weights.
  torch::TensorOptions tensor_options() const;
  /// The one device of all parameters. Throws c10::Error when they are on several.
  torch::Device device() const;

  /// A batch for rules and inference: x [B, n] or [R, B, n] cast and moved to the weights' dtype
  /// and device, with the ensemble dimension where there is one (a view: nothing is repeated in
  /// memory). Throws c10::Error on a wrong shape, and when the weights themselves are on several
  /// devices.
  torch::Tensor enter(const torch::Tensor& x, std::int64_t features) const;

  NetworkOptions options;

 private:
  std::vector<std::shared_ptr<Layer>> layers_;
};
TORCH_MODULE(Network);

}  // namespace pcxx::nn
