#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pcxx/data/batch.h>

#include <algorithm>
#include <limits>

namespace pcxx::data {
namespace {

double rounding_unit(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? std::numeric_limits<double>::epsilon()
                                             : std::numeric_limits<float>::epsilon();
}

// [X, Y] of shape [.., B, n_0 + n_L]; whichever of the two is shared is repeated for every member.
at::Tensor side_by_side(const Batch& batch) {
  const auto members = std::max(batch.input.dim(), batch.target.dim());
  const auto& leading = batch.input.dim() == members ? batch.input : batch.target;
  const auto repeat = [&](const at::Tensor& part) {
    auto sizes = leading.sizes().vec();
    sizes.back() = part.size(-1);
    return part.expand(sizes);
  };
  return at::cat({repeat(batch.input), repeat(batch.target)}, -1);
}

// Whether y is a linear map of x to rounding, in every member: what the first n_0 columns of the
// triangular factor leave over of y.
bool targets_follow_inputs(const at::Tensor& factor, std::int64_t inputs, std::int64_t rows) {
  const auto targets = factor.slice(-1, inputs);
  const auto left_over = targets.slice(-2, inputs);
  const double tolerance =
      static_cast<double>(std::max(rows, factor.size(-1))) * rounding_unit(factor);
  const auto explained = left_over.norm(2, {-2, -1}) <= tolerance * targets.norm(2, {-2, -1});
  return explained.all().item<bool>();
}

}  // namespace

Batch compress(const Batch& batch) {
  const at::NoGradGuard no_grad;
  const auto rows = batch.input.size(-2);
  const auto inputs = batch.input.size(-1);
  const auto columns = inputs + batch.target.size(-1);
  TORCH_CHECK(batch.target.size(-2) == rows, "compress: ", rows, " inputs but ",
              batch.target.size(-2), " targets");
  if (rows <= inputs) return batch;

  auto factor = std::get<1>(at::linalg_qr(side_by_side(batch), "r"));
  if (targets_follow_inputs(factor, inputs, rows)) {
    factor = factor.slice(-2, 0, inputs);
  } else if (rows <= columns) {
    return batch;
  }
  return {factor.slice(-1, 0, inputs).contiguous(), factor.slice(-1, inputs).contiguous(),
          batch.samples};
}

}  // namespace pcxx::data
