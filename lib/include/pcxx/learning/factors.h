#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/inference/report.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace pcxx::learning {

/// Everything a weight update of one layer is made of (spec: "the two learning rules, in one
/// form"). The plain descent direction is D_l = (1/samples) sum_b error_b presynaptic_b^T.
///
///   weight       handle of the parameter W_l [n_l, n_{l-1}] or [R, ...]
///   bias         handle of b_l [n_l] or [R, n_l]; undefined without bias
///   error        e_l [B, n_l] or [R, B, n_l], already multiplied by f_l'
///   presynaptic  u_{l-1} [B, n_{l-1}]: xhat for backpropagation, x* for predictive coding
///   feedforward  xhat_{l-1} [B, n_{l-1}]
///   samples      the B of 1/B (a compressed batch has fewer rows)
///
/// A bias counts as a presynaptic unit fixed at 1: append 1 to both u and xhat.
struct LayerFactors {
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor error;
  at::Tensor presynaptic;
  at::Tensor feedforward;
  std::int64_t samples = 0;
};

/// What a learning rule makes of a batch: factors of layers 1..L (element l - 1), the target-free
/// prediction yhat [B, n_L], and for predictive coding the report of its inference.
struct Step {
  std::vector<LayerFactors> layers;
  at::Tensor prediction;
  std::optional<inference::Report> report;
};

/// D_l of the weights, [n_l, n_{l-1}] or [R, ...].
at::Tensor weight_direction(const LayerFactors& layer);

/// D_l of the bias, [n_l] or [R, n_l]; the layer must have one.
at::Tensor bias_direction(const LayerFactors& layer);

}  // namespace pcxx::learning
