#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

namespace pcxx::data {

/// Inputs and targets of one weight update.
///
///   input   [B, n_0] or [R, B, n_0]
///   target  [B, n_L] or [R, B, n_L]
///   samples the B of the 1/B in every update. It differs from the number of rows only when the
///           batch has been compressed.
struct Batch {
  Batch(at::Tensor inputs, at::Tensor targets)
      : input(std::move(inputs)), target(std::move(targets)), samples(input.size(-2)) {}
  Batch(at::Tensor inputs, at::Tensor targets, std::int64_t count)
      : input(std::move(inputs)), target(std::move(targets)), samples(count) {}

  at::Tensor input;
  at::Tensor target;
  std::int64_t samples;
};

/// The same second moments in at most n_0 + n_L rows: [x; y] is replaced by the triangular factor
/// of its QR decomposition, 1/B stays. In linear networks without bias every update and every
/// rescaling depends on the batch only through these moments, so they are unchanged to rounding;
/// metrics per sample are not. Where every target is a linear map of its input (y = W_data x, in
/// all members) the rows below n_0 are zero to rounding and are left out. Returns the batch itself
/// when it has no more rows than the result would have.
Batch compress(const Batch& batch);

}  // namespace pcxx::data
