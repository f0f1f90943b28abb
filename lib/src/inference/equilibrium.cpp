#include <ATen/ATen.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/linalg/products.h>

#include "inference/parts.h"
#include "linalg/positive_solve.h"

namespace pcxx::inference {
namespace {

// p M_l: p W_l, and p itself once more when the layer is residual.
at::Tensor times_map(const at::Tensor& p, const nn::DenseImpl& layer) {
  auto product = linalg::backward_product(p, layer.weight);
  return layer.options.residual() ? product.add_(p) : product;
}

// s += p p^T in its lower blocks.
void add_lower_gram_(at::Tensor& s, const at::Tensor& p) {
  const auto n = s.size(-1);
  if (s.dim() > 2 || n < 2 * linalg::kBlock) {
    linalg::product_out(s, p, p.mT(), 1, 1);
    return;
  }
  for (std::int64_t begin = 0; begin < n; begin += linalg::kBlock) {
    const auto end = std::min(n, begin + linalg::kBlock);
    auto rows = s.slice(0, begin, end).slice(1, 0, end);
    linalg::product_out(rows, p.slice(0, begin, end), p.slice(0, 0, end).t(), 1, 1);
  }
}

// Of an equilibrium that is exact: nothing was iterated.
Report exact_report(std::string_view method, const at::Tensor& energy) {
  Report report;
  report.method = method;
  report.energy = energy;
  report.residual = at::zeros_like(energy);
  report.gap_bound = at::zeros_like(energy);
  report.curvature = at::zeros_like(energy);
  report.unstable = at::zeros_like(energy, at::kBool);
  report.steps = at::zeros_like(energy, at::kLong);
  report.converged = at::isfinite(energy);
  report.step_size = at::zeros_like(energy);
  return report;
}

}  // namespace

at::Tensor energy_scaling(const nn::NetworkImpl& network, bool lower) {
  TORCH_CHECK(network.is_linear(), "S is defined for linear networks only");
  const at::NoGradGuard no_grad;
  const auto n = network.out_features();
  auto s = at::eye(n, network.tensor_options().requires_grad(false));
  if (network.members()) s = s.repeat({*network.members(), 1, 1});

  at::Tensor p;
  for (std::size_t l = network.size(); l >= 2; --l) {
    const auto& layer = network.dense(l);
    if (p.defined()) {
      p = times_map(p, layer);
    } else {
      p = layer.options.residual() ? layer.weight + at::eye(n, s.options()) : layer.weight.detach();
    }
    if (lower) {
      add_lower_gram_(s, p);
    } else {
      linalg::product_out(s, p, p.mT(), 1, 1);
    }
  }
  return s;
}

Equilibrium ClosedForm::infer(const nn::NetworkImpl& network, const data::Batch& batch) const {
  TORCH_CHECK(network.is_linear(), "the closed form needs a linear network, not one with ",
              "nonlinear layers: use error or state descent");
  TORCH_CHECK(network.loss().is_squared_error(), "the closed form is of the squared error, not of ",
              network.loss().name());
  const at::NoGradGuard no_grad;
  const auto depth = network.size();
  const auto target = network.enter(batch.target, network.out_features());

  Equilibrium result{.feedforward = nn::feedforward(network, batch.input),
                     .activities = std::vector<at::Tensor>(depth + 1),
                     .outputs = std::vector<nn::Kept>(depth + 1),
                     .errors = std::vector<at::Tensor>(depth + 1),
                     .report = {}};
  const auto& xhat = result.feedforward.activities;
  const auto r = target - xhat[depth];

  const auto v = linalg::solve_positive(energy_scaling(network, /*lower=*/true), r);

  result.errors[depth] = v;
  for (std::size_t l = depth; l >= 2; --l) {
    result.errors[l - 1] = times_map(result.errors[l], network.dense(l));
  }

  result.activities[0] = xhat[0];
  for (std::size_t l = 1; l <= depth; ++l) {
    const auto& layer = network.dense(l);
    // Layer 1 sees the clamped input: its output is the feed-forward pass's.
    result.outputs[l] = l == 1      ? result.feedforward.outputs[1].output
                        : l < depth ? nn::preactivation(layer, result.activities[l - 1])
                                    : at::Tensor();
    if (l == depth) break;
    auto x = result.outputs[l] + result.errors[l];
    if (layer.options.residual()) x.add_(result.activities[l - 1]);
    result.activities[l] = x;
  }
  result.activities[depth] = target;
  auto top = target - v;
  if (network.dense(depth).options.residual()) top.sub_(result.activities[depth - 1]);
  result.outputs[depth] = top;

  result.report = exact_report(name(), (r * v).sum(-1).mul_(0.5).to(at::kDouble));
  return result;
}

InferencePart closed_form_part() {
  InferencePart part;
  part.name = "closed_form";
  part.make = [](const config::Config&) { return std::make_shared<ClosedForm>(); };
  part.linear_only = true;
  return part;
}

}  // namespace pcxx::inference
