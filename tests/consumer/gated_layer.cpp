// layer = "gated": out = tanh(V x) * sigmoid(G x), with two matrices [n_out, n_in].

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>

#include <cmath>

#include "lab.h"

namespace {

using namespace pcxx;

class Gated final : public nn::Layer {
 public:
  Gated(std::int64_t in, std::int64_t out, double gain) : Layer(in, out), gain_(gain) {
    value_ = register_parameter("value", at::zeros({out, in}));
    gate_ = register_parameter("gate", at::zeros({out, in}));
  }

  at::Tensor forward(const at::Tensor& x) const override {
    return at::tanh(at::matmul(x, value_.t())) * at::sigmoid(at::matmul(x, gate_.t()));
  }

  void draw_(at::Generator generator) override {
    const double spread = gain_ / std::sqrt(static_cast<double>(in_features()));
    value_.normal_(0, spread, generator);
    gate_.normal_(0, spread, generator);
  }

 private:
  double gain_;
  at::Tensor value_;
  at::Tensor gate_;
};

}  // namespace

void add_gated_layer() {
  catalog::add_layer(
      {.name = "gated",
       .doc = "tanh(V x) sigmoid(G x)",
       .keys = {{.name = "gate_gain",
                 .kind = config::Kind::kReal,
                 .initial = "1.0",
                 .doc = "spread of the first weights of gated layers, times 1/sqrt(n)",
                 .shape = config::Shape::kSweep,
                 .minimum = 0,
                 .open_minimum = true}}},
      [](const config::Config& config) -> nn::LayerMaker {
        const double gain = config.real("gate_gain");
        return [gain](std::int64_t in, std::int64_t out) {
          return std::make_shared<Gated>(in, out, gain);
        };
      });
}
