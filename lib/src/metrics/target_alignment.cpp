#include <ATen/ATen.h>
#include <pcxx/metrics/target_alignment.h>

#include <limits>

namespace pcxx::metrics {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Cosine over `dims`. Each operand is divided by its largest entry first, so that no square under-
// or overflows; 0 / 0 gives the NaN of an operand that is zero.
at::Tensor cosine(const at::Tensor& a, const at::Tensor& b, at::IntArrayRef dims) {
  const auto u = a / a.abs().amax(dims, /*keepdim=*/true);
  const auto v = b / b.abs().amax(dims, /*keepdim=*/true);
  const auto norms = u.square().sum(dims).sqrt_().mul_(v.square().sum(dims).sqrt_());
  return (u * v).sum(dims).div_(norms).clamp_(-1, 1);
}

}  // namespace

TargetAlignment target_alignment(const at::Tensor& residual, const at::Tensor& change) {
  TORCH_CHECK(residual.dim() >= 2 && residual.sizes() == change.sizes(), "residuals of shape ",
              residual.sizes(), " have no alignment with changes of shape ", change.sizes());
  const at::NoGradGuard no_grad;
  const auto r = residual.to(at::kDouble);
  const auto d = change.to(at::kDouble);
  const auto finite = at::isfinite(r).all(-1).logical_and_(at::isfinite(d).all(-1));
  const auto directed = r.ne(0).any(-1).logical_and_(d.ne(0).any(-1));
  const auto counts = finite.logical_and(directed);

  TargetAlignment result;
  result.per_sample = cosine(r, d, {-1}).masked_fill_(counts.logical_not(), kNaN);
  result.mean = result.per_sample.nan_to_num(0).sum(-1).div_(counts.sum(-1));
  result.batch = cosine(r, d, {-2, -1});
  result.left_out = finite.logical_and(directed.logical_not()).sum(-1);
  result.non_finite = finite.logical_not().sum(-1);
  return result;
}

TargetAlignment target_alignment(const nn::NetworkImpl& network, const data::Batch& batch,
                                 const Update& update, std::optional<double> rate) {
  const at::NoGradGuard no_grad;
  const auto pass = nn::feedforward(network, batch.input);
  const auto residual = network.enter(batch.target, network.out_features()) - pass.prediction();
  return target_alignment(residual, rate ? finite_change(network, pass, update, *rate)
                                         : first_order_change(network, pass, update));
}

}  // namespace pcxx::metrics
