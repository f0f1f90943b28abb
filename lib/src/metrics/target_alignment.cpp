#include <ATen/ATen.h>
#include <pcxx/metrics/target_alignment.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

namespace pcxx::metrics {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Of every sample, [.., B]: the largest |r_i| and |d_i|, and the products of r and d divided by
// them, so that no square under- or overflows. Not finite where an entry is not; 0 where all are.
struct Products {
  at::Tensor largest_r;
  at::Tensor largest_d;
  at::Tensor rr;
  at::Tensor dd;
  at::Tensor rd;
};

constexpr std::int64_t kLanes = 8;  // at a time, which the compiler keeps in vectors

// body(i, i modulo kLanes) for i = 0, ..., n - 1.
template <typename Body>
void over_lanes(std::int64_t n, const Body& body) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) body(i + lane, lane);
  }
  for (std::int64_t lane = 0; i < n; ++i, ++lane) body(i, lane);
}

// NaN where an entry is.
double largest(const double* x, std::int64_t n) {
  double found[kLanes] = {};
  double nothing[kLanes] = {};  // 0, or NaN
  over_lanes(n, [&](std::int64_t i, std::int64_t lane) {
    const double size = std::abs(x[i]);
    found[lane] = size > found[lane] ? size : found[lane];
    nothing[lane] += 0 * x[i];
  });
  const bool finite = std::isfinite(std::accumulate(nothing, nothing + kLanes, 0.0));
  return finite ? *std::max_element(found, found + kLanes) : kNaN;
}

void add_products(const double* r, const double* d, double scale_r, double scale_d, std::int64_t n,
                  double& rr, double& dd, double& rd) {
  double sums[3][kLanes] = {};
  over_lanes(n, [&](std::int64_t i, std::int64_t lane) {
    const double u = r[i] / scale_r;
    const double v = d[i] / scale_d;
    sums[0][lane] += u * u;
    sums[1][lane] += v * v;
    sums[2][lane] += u * v;
  });
  double* const totals[] = {&rr, &dd, &rd};
  for (std::size_t k = 0; k < 3; ++k) {
    *totals[k] = std::accumulate(sums[k], sums[k] + kLanes, 0.0);
  }
}

// One pass for the largest and one for the products, over rows that stay in the first cache.
Products products_by_loops(const at::Tensor& residual, const at::Tensor& change) {
  const auto r = residual.contiguous();
  const auto d = change.contiguous();
  const auto rows = r.sizes().slice(0, r.dim() - 1);
  const auto empty = [&] { return at::empty(rows, r.options()); };
  Products found{empty(), empty(), empty(), empty(), empty()};
  const auto n = r.size(-1);
  for (std::int64_t b = 0; b < found.rr.numel(); ++b) {
    const auto* r_b = r.const_data_ptr<double>() + b * n;
    const auto* d_b = d.const_data_ptr<double>() + b * n;
    const double largest_r = largest(r_b, n);
    const double largest_d = largest(d_b, n);
    found.largest_r.mutable_data_ptr<double>()[b] = largest_r;
    found.largest_d.mutable_data_ptr<double>()[b] = largest_d;
    add_products(r_b, d_b, largest_r == 0 ? 1 : largest_r, largest_d == 0 ? 1 : largest_d, n,
                 found.rr.mutable_data_ptr<double>()[b], found.dd.mutable_data_ptr<double>()[b],
                 found.rd.mutable_data_ptr<double>()[b]);
  }
  return found;
}

Products products_by_tensors(const at::Tensor& r, const at::Tensor& d) {
  const auto largest_r = r.abs().amax({-1});
  const auto largest_d = d.abs().amax({-1});
  const auto scaled = [](const at::Tensor& x, const at::Tensor& largest) {
    return x / at::where(largest.eq(0), at::ones_like(largest), largest).unsqueeze(-1);
  };
  const auto u = scaled(r, largest_r);
  const auto v = scaled(d, largest_d);
  return {largest_r, largest_d, u.square().sum(-1), v.square().sum(-1), (u * v).sum(-1)};
}

at::Tensor cosine(const at::Tensor& rr, const at::Tensor& dd, const at::Tensor& rd) {
  return rd.div(rr.sqrt().mul_(dd.sqrt())).clamp_(-1, 1);
}

// Over all samples: each counts with its size.
at::Tensor batch_cosine(const Products& p) {
  const auto share_r = p.largest_r / p.largest_r.amax({-1}, /*keepdim=*/true);
  const auto share_d = p.largest_d / p.largest_d.amax({-1}, /*keepdim=*/true);
  return cosine((p.rr * share_r.square()).sum(-1), (p.dd * share_d.square()).sum(-1),
                (p.rd * share_r * share_d).sum(-1));
}

}  // namespace

TargetAlignment target_alignment(const at::Tensor& residual, const at::Tensor& change) {
  TORCH_CHECK(residual.dim() >= 2 && residual.sizes() == change.sizes(), "residuals of shape ",
              residual.sizes(), " have no alignment with changes of shape ", change.sizes());
  const at::NoGradGuard no_grad;
  const auto r = residual.to(at::kDouble);
  const auto d = change.to(at::kDouble);
  const auto p = r.is_cpu() && d.is_cpu() ? products_by_loops(r, d) : products_by_tensors(r, d);
  const auto finite = at::isfinite(p.largest_r).logical_and_(at::isfinite(p.largest_d));
  const auto directed = p.largest_r.ne(0).logical_and_(p.largest_d.ne(0));
  const auto counts = finite.logical_and(directed);

  TargetAlignment result;
  result.per_sample = cosine(p.rr, p.dd, p.rd).masked_fill_(counts.logical_not(), kNaN);
  result.mean = result.per_sample.nan_to_num(0).sum(-1).div_(counts.sum(-1));
  result.batch = batch_cosine(p);
  result.left_out = finite.logical_and(directed.logical_not()).sum(-1);
  result.non_finite = finite.logical_not().sum(-1);
  return result;
}

TargetAlignment target_alignment(const nn::NetworkImpl& network, const data::Batch& batch,
                                 const Update& update, std::optional<double> rate) {
  const at::NoGradGuard no_grad;
  const auto pass = nn::feedforward(network, batch.input);
  const auto residual =
      network.residual(pass.prediction(), network.enter(batch.target, network.out_features()));
  return target_alignment(residual, rate ? finite_change(network, pass, update, *rate)
                                         : first_order_change(network, pass, update));
}

}  // namespace pcxx::metrics
