#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pcxx/core/random.h>
#include <pcxx/nn/init.h>
#include <pcxx/nn/network.h>
#include <torch/types.h>

#include <memory>

/// Layers of one's own for tests: a known Dense one in disguise, and one that is not Dense.
namespace pcxx::test {

/// f(W x + b) as a Dense layer has it, drawn like one.
class DisguisedDense final : public nn::Layer {
 public:
  DisguisedDense(std::int64_t in, std::int64_t out, nn::Activation activation, bool biased)
      : Layer(in, out), activation_(activation) {
    weight = register_parameter("weight", torch::zeros({out, in}));
    if (biased) bias = register_parameter("bias", torch::zeros({out}));
  }

  at::Tensor forward(const at::Tensor& x) const override {
    const auto z = at::matmul(x, weight.t());
    return nn::activate(bias.defined() ? z + bias : z, activation_);
  }

  void draw_(at::Generator generator) override {
    nn::Network dense(nn::mlp({in_features(), out_features()}));
    nn::init::kaiming_(*dense, std::move(generator));
    weight.copy_(dense->dense(1).weight);
  }

  at::Tensor weight;
  at::Tensor bias;

 private:
  nn::Activation activation_;
};

/// tanh(V x) sigmoid(G x) + s, with matrices and a scalar as parameters.
class Gated final : public nn::Layer {
 public:
  Gated(std::int64_t in, std::int64_t out) : Layer(in, out) {
    value_ = register_parameter("value", torch::zeros({out, in}));
    gate_ = register_parameter("gate", torch::zeros({out, in}));
    shift_ = register_parameter("shift", torch::zeros({}));
  }

  at::Tensor forward(const at::Tensor& x) const override {
    return at::tanh(at::matmul(x, value_.t())) * at::sigmoid(at::matmul(x, gate_.t())) + shift_;
  }

  void draw_(at::Generator generator) override {
    for (auto* parameter : {&value_, &gate_, &shift_}) parameter->normal_(0, 0.7, generator);
  }

 private:
  at::Tensor value_;
  at::Tensor gate_;
  at::Tensor shift_;
};

inline nn::LayerMaker gated() {
  return [](std::int64_t in, std::int64_t out) { return std::make_shared<Gated>(in, out); };
}

/// The same network with its hidden layers disguised.
inline nn::Network disguised(const nn::NetworkImpl& network) {
  const at::NoGradGuard no_grad;
  auto options = network.options;
  for (std::size_t l = 1; l < network.size(); ++l) {
    const auto& dense = network.options.layers()[l - 1];
    options = options.with_layer(l, [dense](std::int64_t in, std::int64_t out) {
      return std::make_shared<DisguisedDense>(in, out, dense.activation(), dense.bias());
    });
  }
  nn::Network result(options);
  result->to(torch::kDouble);
  const auto from = network.named_parameters();
  for (auto& parameter : result->named_parameters()) {
    parameter.value().copy_(from[parameter.key()]);
  }
  return result;
}

/// Three layers, of which the second is gated; float64.
inline nn::Network gated_network(std::optional<std::int64_t> members = std::nullopt) {
  auto options = nn::mlp({5, 6, 4, 3}, nn::Activation::kTanh).with_bias().with_layer(2, gated());
  if (members) options = options.ensemble(*members);
  nn::Network network(options);
  network->to(torch::kDouble);
  nn::init::lecun_(*network, make_generator(3, Purpose::kWeights));
  return network;
}

}  // namespace pcxx::test
