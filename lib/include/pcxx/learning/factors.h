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
///   weight       handle of the parameter W_l [n_l, n_{l-1}] or [R, ...]; of a convolution
///                [C_out, C_in, k, k], and then n_l is C_out, n_{l-1} is C_in k^2 below
///   bias         handle of b_l [n_l] or [R, n_l]; undefined without bias
///   error        e_l [B, n_l] or [R, B, n_l], already multiplied by f_l'
///   presynaptic  u_{l-1} [B, n_{l-1}]: xhat for backpropagation, x* for predictive coding
///   feedforward  xhat_{l-1} [B, n_{l-1}]
///   samples      the B of 1/B (a compressed batch has fewer rows)
///   locations    rows of each sample, one behind the other; 1 but in convolutions and where a rule
///                averages several inferences, where `B` of the shapes above is B times as many
///   bias_unit    what a bias multiplies in each row
///   sums         empty, or in place of the three activities what the rescaling has asked for
///                (optim/rescaling.h, `sums`), where several processes share the batch
///
/// A bias counts as a presynaptic unit fixed at 1: append `bias_unit` to both u and xhat. It is
/// less than 1 only where all rows are scaled, as those of two inferences by sqrt(1/2): their sums
/// are then means.
struct LayerFactors {
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor error;
  at::Tensor presynaptic;
  at::Tensor feedforward;
  std::int64_t samples = 0;
  std::int64_t locations = 1;
  double bias_unit = 1;
  std::vector<at::Tensor> sums = {};
};

/// An update given as finished directions instead of factors: of layers without a weight
/// (nn/layer.h), where they are plain descent directions averaged over the samples, and by rules
/// such as Kalman PC (learning/kalman.h). Rescalings leave them unchanged.
///
///   layer       l = 1..L
///   parameters  handles, in the order of the layer's `parameters()`
///   directions  of each, in its shape; undefined where the output does not depend on it
struct OwnDirections {
  std::size_t layer = 0;
  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> directions;
};

/// What a learning rule makes of a batch: factors of Dense layers in their order (element l - 1 in
/// a network of Dense layers), directions of all others, the target-free prediction yhat [B, n_L],
/// and for predictive coding the report of its inference.
struct Step {
  std::vector<LayerFactors> layers;
  std::vector<OwnDirections> own;
  at::Tensor prediction;
  std::optional<inference::Report> report;
};

/// D_l of the weights, [n_l, n_{l-1}] or [R, ...].
at::Tensor weight_direction(const LayerFactors& layer);

/// D_l of the bias, [n_l] or [R, n_l]; the layer must have one.
at::Tensor bias_direction(const LayerFactors& layer);

}  // namespace pcxx::learning
