// loss = "log_cosh": quadratic near the target and linear far from it, so that outliers count less.

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>

#include <cmath>

#include "lab.h"

namespace {

using namespace pcxx;

class LogCosh final : public nn::Loss {
 public:
  std::string_view name() const override { return "log_cosh"; }

  at::Tensor value(const at::Tensor& prediction, const at::Tensor& target) const override {
    return errors(prediction, target).sum(-1);
  }

  at::Tensor residual(const at::Tensor& prediction, const at::Tensor& target) const override {
    return at::tanh(target - prediction);
  }

  // The derivative of tanh is 1 - tanh^2.
  at::Tensor curve(const at::Tensor& residual, const at::Tensor&,
                   const at::Tensor& tangent) const override {
    return (1 - residual.square()) * tangent;
  }

  // log cosh e = |e| + log(1 + exp(-2 |e|)) - log 2, which does not overflow.
  at::Tensor errors(const at::Tensor& prediction, const at::Tensor& target) const override {
    const auto e = (target - prediction).abs();
    return e + at::log1p(at::exp(-2 * e)) - std::log(2);
  }

  std::int64_t error_columns(std::int64_t outputs) const override { return outputs; }
};

}  // namespace

void add_log_cosh() {
  catalog::add_loss({"log_cosh", "quadratic near the target and linear far from it"},
                    [](const config::Config&) { return std::make_shared<LogCosh>(); });
}
