#include "linalg/information.h"

#include <ATen/ATen.h>
#include <pcxx/linalg/products.h>

#include <vector>

#include "linalg/gemm.h"

// The SIMD part is compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/information.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pcxx::linalg::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// out <- x y, n elements.
template <typename T>
void multiply(const T* x, const T* y, int64_t n, T* out) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t k = 0;
  for (; k + lanes <= n; k += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + k), hn::LoadU(d, y + k)), d, out + k);
  }
  for (; k < n; ++k) out[k] = x[k] * y[k];
}

// One sample: transposed [n, m], units [a], roots of w [m], out [a, a].
template <typename T>
void one_sample(const T* transposed, const int64_t* units, const T* roots, int64_t a, int64_t m,
                T* out) {
  thread_local std::vector<T> scaled;  // V^T sqrt(w), so small that it stays in the cache
  scaled.resize(static_cast<size_t>(a * m));
  for (int64_t i = 0; i < a; ++i) {
    multiply(transposed + units[i] * m, roots, m, scaled.data() + i * m);
  }
  gemm::run_symmetric(
      gemm::Product<T>{a, a, m, 1, {scaled.data(), m, 1}, {scaled.data(), 1, m}, 0, {out, a, 1}});
}

// Highway's dispatch table takes plain functions.
void sample_f32(const float* transposed, const int64_t* units, const float* roots, int64_t a,
                int64_t m, float* out) {
  one_sample(transposed, units, roots, a, m, out);
}
void sample_f64(const double* transposed, const int64_t* units, const double* roots, int64_t a,
                int64_t m, double* out) {
  one_sample(transposed, units, roots, a, m, out);
}

}  // namespace pcxx::linalg::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::linalg {

HWY_EXPORT(sample_f32);
HWY_EXPORT(sample_f64);

namespace {

void one_sample(const float* transposed, const int64_t* units, const float* roots, int64_t a,
                int64_t m, float* out) {
  HWY_DYNAMIC_DISPATCH(sample_f32)(transposed, units, roots, a, m, out);
}
void one_sample(const double* transposed, const int64_t* units, const double* roots, int64_t a,
                int64_t m, double* out) {
  HWY_DYNAMIC_DISPATCH(sample_f64)(transposed, units, roots, a, m, out);
}

template <typename T>
at::Tensor by_sample(const at::Tensor& transposed, const at::Tensor& units,
                     const at::Tensor& roots) {
  const auto a = units.size(-1), m = roots.size(-1);
  const auto member = transposed.size(-2) * m;
  auto shape = units.sizes().vec();
  shape.push_back(a);
  auto out = at::empty(shape, roots.options());
  const auto samples = units.numel() / a;
  const auto of_member = transposed.dim() == 3 ? units.size(-2) : samples;
  for (int64_t b = 0; b < samples; ++b) {
    one_sample(transposed.const_data_ptr<T>() + b / of_member * member,
               units.const_data_ptr<int64_t>() + b * a, roots.const_data_ptr<T>() + b * m, a, m,
               out.mutable_data_ptr<T>() + b * a * a);
  }
  return out;
}

}  // namespace

at::Tensor rows(const at::Tensor& matrix, at::Tensor which) {
  if (matrix.dim() == 3) {
    const auto first = at::arange(matrix.size(0), which.options()).mul_(matrix.size(1));
    which = which + first.unsqueeze(-1).unsqueeze(-1);
  }
  const auto flat = matrix.dim() == 3 ? matrix.flatten(0, 1) : matrix;
  return flat.index_select(0, which.flatten()).unflatten(0, which.sizes());
}

at::Tensor information(const at::Tensor& transposed, const at::Tensor& units, const at::Tensor& w) {
  const auto roots = w.sqrt().contiguous();
  const auto dtype = w.scalar_type();
  if (w.is_cpu() && dtype == at::kFloat) {
    return by_sample<float>(transposed.contiguous(), units.contiguous(), roots);
  }
  if (w.is_cpu() && dtype == at::kDouble) {
    return by_sample<double>(transposed.contiguous(), units.contiguous(), roots);
  }
  return gram(rows(transposed, units).mul_(roots.unsqueeze(-2)));
}

}  // namespace pcxx::linalg
#endif
