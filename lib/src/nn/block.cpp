#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/dense.h>

#include <algorithm>

#include "nn/layer_parts.h"

namespace pcxx::nn {
namespace {

// Without the dimension of an ensemble of one.
at::Tensor single(const at::Tensor& x) {
  return x.defined() && x.dim() == 3 ? x.squeeze(0) : x;
}

at::Tensor like(const at::Tensor& made, const at::Tensor& x) {
  return x.dim() == 3 && made.defined() ? made.unsqueeze(0) : made;
}

// What goes into layer i of a block at x.
at::Tensor input_of(std::size_t i, const at::Tensor& x, const Kept& kept) {
  return i == 0 ? single(x) : kept.inputs[i - 1];
}

// Of all parameters, in their order.
std::vector<at::Tensor> directions_of(const Layer& layer, Pulled pulled, const at::Tensor& below) {
  if (!pulled.error.defined()) return std::move(pulled.parameters);
  const auto [weight, bias] = layer.affine();
  const auto product = at::matmul(pulled.error.mT(), layer.units(below));
  const auto direction = product.view(weight.sizes());
  if (!bias.defined()) return {direction};
  return {direction, pulled.error.sum(-2)};
}

std::optional<std::size_t> only_with_weight(const std::vector<std::shared_ptr<Layer>>& layers) {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i]->parameters().empty()) continue;
    if (found || !layers[i]->affine().weight.defined()) return std::nullopt;
    found = i;
  }
  return found;
}

}  // namespace

Block::Block(std::vector<std::shared_ptr<Layer>> layers, bool residual)
    : Layer(layers.empty() ? 0 : layers.front()->in_features(),
            layers.empty() ? 0 : layers.back()->out_features()),
      layers_(std::move(layers)),
      residual_(residual) {
  TORCH_CHECK(!layers_.empty(), "a block needs at least one layer");
  TORCH_CHECK(!residual || in_features() == out_features(),
              "a residual block gives as much as it takes, not ", in_features(), " -> ",
              out_features());
  for (std::size_t l = 1; l <= layers_.size(); ++l) {
    TORCH_CHECK(l == 1 || layers_[l - 1]->in_features() == layers_[l - 2]->out_features(), "layer ",
                l, " of a block takes ", layers_[l - 1]->in_features(), " features, but layer ",
                l - 1, " gives another number");
    register_module(c10::str("layer", l), layers_[l - 1]);
  }
  weighted_ = only_with_weight(layers_);
}

at::Tensor Block::forward(const at::Tensor& x) const {
  auto y = x;
  for (const auto& layer : layers_) y = layer->prediction(y);
  return residual_ ? x + y : y;
}

LayerOutput Block::run(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  Kept kept;
  auto y = single(x);
  for (const auto& layer : layers_) {
    if (&layer != &layers_.front()) kept.inputs.push_back(y);
    auto made = layer->run(y);
    kept.inner.push_back(std::move(made.kept));
    y = std::move(made.prediction);
  }
  y = like(y, x);
  kept.output = residual_ ? x + y : y;
  const auto prediction = kept.output;
  return {std::move(kept), prediction};
}

Affine Block::affine() const {
  return weighted_ ? layers_[*weighted_]->affine() : Affine{};
}

at::Tensor Block::units(const at::Tensor& x) const {
  TORCH_CHECK(weighted_, "a block of several weights has no units");
  const at::NoGradGuard no_grad;
  auto below = single(x);
  for (std::size_t i = 0; i < *weighted_; ++i) below = layers_[i]->run(below).prediction;
  return like(layers_[*weighted_]->units(below), x);
}

void Block::draw_(at::Generator generator) {
  for (const auto& layer : layers_) layer->draw_(generator);
}

void Block::draw_member_(std::int64_t member, const DrawWeight& draw, at::Generator generator) {
  for (const auto& layer : layers_) layer->draw_member_(member, draw, generator);
}

Pulled Block::pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                        Wanted wanted) const {
  const at::NoGradGuard no_grad;
  auto passed_on = single(signal);
  Pulled whole;
  std::vector<std::vector<at::Tensor>> found(layers_.size());
  for (std::size_t i = layers_.size(); i-- > 0;) {
    const auto below = input_of(i, x, kept);
    auto pulled = layers_[i]->pull_back(below, kept.inner[i], passed_on,
                                        {wanted.parameters, wanted.input || i > 0});
    passed_on = std::move(pulled.input);
    if (weighted_ && *weighted_ == i) whole.error = like(pulled.error, x);
    if (wanted.parameters && !weighted_) {
      found[i] = directions_of(*layers_[i], std::move(pulled), below);
    }
  }
  for (const auto& of_layer : found) {
    whole.parameters.insert(whole.parameters.end(), of_layer.begin(), of_layer.end());
  }
  if (!wanted.input) return whole;
  whole.input = like(passed_on, x);
  if (residual_) whole.input = signal + whole.input;
  return whole;
}

std::vector<std::vector<at::Tensor>> Block::of_layers(
    const std::vector<at::Tensor>& directions) const {
  TORCH_CHECK(directions.empty() || directions.size() == parameters().size(), "an update of ",
              directions.size(), " parameters does not fit a block of ", parameters().size());
  std::vector<std::vector<at::Tensor>> split;
  auto next = directions.begin();
  for (const auto& layer : layers_) {
    const auto count =
        directions.empty() ? 0 : static_cast<std::ptrdiff_t>(layer->parameters().size());
    split.emplace_back(next, next + count);
    next += count;
  }
  return split;
}

at::Tensor Block::push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                               const std::vector<at::Tensor>& directions) const {
  const at::NoGradGuard no_grad;
  const auto split = of_layers(directions);
  auto change = single(tangent);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    change = layers_[i]->push_forward(input_of(i, x, kept), kept.inner[i], change, split[i]);
  }
  change = like(change, x);
  return residual_ && tangent.defined() ? change + tangent : change;
}

at::Tensor Block::moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                        double rate) const {
  const at::NoGradGuard no_grad;
  const auto split = of_layers(directions);
  auto y = single(x);
  for (std::size_t i = 0; i < layers_.size(); ++i) y = layers_[i]->moved(y, split[i], rate);
  y = like(y, x);
  return residual_ ? x + y : y;
}

bool Block::is_piecewise_linear() const {
  return std::all_of(layers_.begin(), layers_.end(),
                     [](const auto& layer) { return layer->is_piecewise_linear(); });
}

std::string Block::description() const {
  std::string inner;
  for (const auto& layer : layers_) {
    const auto text = layer->description();
    inner += c10::str(inner.empty() ? "" : " ", text.empty() ? "own" : text);
  }
  return c10::str(residual_ ? "block(" : "group(", inner, ")");
}

namespace {

std::shared_ptr<Layer> made(const StackedLayer& layer) {
  auto dense = layer.dense;
  if (!layer.maker) return std::make_shared<DenseImpl>(dense.draw(false));
  return layer.maker(dense.in_features(), dense.out_features());
}

StackedLayer make_block(const LayerPlace& at, bool residual) {
  if (at.inner.empty()) user_error("{} has no layers inside it", at.place);
  auto within = at;
  within.place += ",";
  if (residual) within.outputs = at.below;
  const auto inner = at.stack(at.inner, within);
  const auto given = inner.back().dense.out_features();
  if (residual && given != at.below) {
    user_error("{}: x + f(x) cannot be made of {} units and the {} that its last layer gives",
               at.place, at.below, given);
  }
  double weights = 0;
  bool bias = false;
  for (const auto& layer : inner) {
    weights += layer.weights;
    bias = bias || layer.dense.bias();
  }
  return {.dense = DenseOptions(at.below, given).bias(bias),
          .maker =
              [inner, residual](std::int64_t, std::int64_t) {
                std::vector<std::shared_ptr<Layer>> layers;
                for (const auto& layer : inner) layers.push_back(made(layer));
                return std::make_shared<Block>(std::move(layers), residual);
              },
          .image = inner.back().image,
          .weights = weights};
}

}  // namespace

LayerKind block_kind() {
  LayerKind kind;
  kind.name = "block";
  kind.doc = "x + f(x) of the layers written inside it";
  kind.takes_layers = true;
  kind.make = [](const config::Config&, const LayerPlace& at) { return make_block(at, true); };
  return kind;
}

LayerKind group_kind() {
  LayerKind kind;
  kind.name = "group";
  kind.doc = "the layers written inside it as one layer";
  kind.takes_layers = true;
  kind.make = [](const config::Config&, const LayerPlace& at) { return make_block(at, false); };
  return kind;
}

}  // namespace pcxx::nn
