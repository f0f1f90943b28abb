#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <pcxx/core/residency.h>
#include <pcxx/linalg/products.h>

#include <algorithm>

#include "linalg/gemm.h"

// The SIMD part is compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/products.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>
// After foreach_target.
#include "linalg/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pcxx::linalg::HWY_NAMESPACE {

// Highway's dispatch table takes plain functions.
void forward_f32(const float* w, int64_t m, int64_t n, const float* x, float* out) {
  simd::HWY_NAMESPACE::times_column(w, m, n, x, out);
}
void forward_f64(const double* w, int64_t m, int64_t n, const double* x, double* out) {
  simd::HWY_NAMESPACE::times_column(w, m, n, x, out);
}
void backward_f32(const float* w, int64_t m, int64_t n, const float* e, float* out) {
  std::fill(out, out + n, 0.0F);
  simd::HWY_NAMESPACE::add_row_times(e, w, m, n, out);
}
void backward_f64(const double* w, int64_t m, int64_t n, const double* e, double* out) {
  std::fill(out, out + n, 0.0);
  simd::HWY_NAMESPACE::add_row_times(e, w, m, n, out);
}

}  // namespace pcxx::linalg::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::linalg {

HWY_EXPORT(forward_f32);
HWY_EXPORT(forward_f64);
HWY_EXPORT(backward_f32);
HWY_EXPORT(backward_f64);

namespace {

// Weights of a matrix above which threads read it faster than one core does.
constexpr int64_t kOneCore = int64_t{1} << 20;

template <typename T>
T* data(const at::Tensor& t) {
  return static_cast<T*>(t.data_ptr());
}

// The last two dimensions of member r.
template <typename T>
gemm::Matrix<T> matrix(const at::Tensor& t, int64_t r) {
  const int64_t offset = t.dim() == 3 ? r * t.stride(0) : 0;
  return {data<T>(t) + offset, t.stride(-2), t.stride(-1)};
}

template <typename T>
void run_gemm(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, double alpha,
              double beta) {
  const auto m = out.size(-2), n = out.size(-1), k = a.size(-1);
  const auto columns = [&](int64_t r, int64_t begin, int64_t end) {
    gemm::Product<T> p{m,
                       end - begin,
                       k,
                       static_cast<T>(alpha),
                       matrix<const T>(a, r),
                       matrix<const T>(b, r),
                       static_cast<T>(beta),
                       matrix<T>(out, r)};
    p.b.data = p.b.at(0, begin);
    p.c.data = p.c.at(0, begin);
    gemm::run(p);
  };
  if (out.dim() == 2) {
    at::parallel_for(0, n, 1 + gemm::kGrain / (m * k),
                     [&](int64_t begin, int64_t end) { columns(0, begin, end); });
    return;
  }
  at::parallel_for(0, out.size(0), 1 + gemm::kGrain / (m * n * k), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) columns(r, 0, n);
  });
}

template <typename T>
void run_gram(at::Tensor& out, const at::Tensor& a, double alpha, double beta) {
  const auto m = a.size(-2), k = a.size(-1);
  const auto member = [&](int64_t r) {
    const auto left = matrix<const T>(a, r);
    gemm::run_symmetric(gemm::Product<T>{m,
                                         m,
                                         k,
                                         static_cast<T>(alpha),
                                         left,
                                         {left.data, left.column, left.row},
                                         static_cast<T>(beta),
                                         matrix<T>(out, r)});
  };
  if (out.dim() == 2) return member(0);
  at::parallel_for(0, out.size(0), 1 + gemm::kGrain / (m * m * k), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) member(r);
  });
}

bool gemm_applies(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  const auto dtype = out.scalar_type();
  const auto fits = [&](const at::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == dtype && t.dim() == out.dim();
  };
  // Packing b does not pay for a few rows, nor for an outer product.
  return gemm::preferred() && (dtype == at::kFloat || dtype == at::kDouble) && fits(out) &&
         fits(a) && fits(b) && out.stride(-1) == 1 && out.size(-2) >= 8 && a.size(-1) > 1;
}

at::Tensor empty_product(const at::Tensor& a, int64_t columns) {
  auto shape = a.sizes().vec();
  shape.back() = columns;
  return at::empty(shape, a.options());
}

// The loops read and write wherever pointers lead, and on a device that ends the program.
void check_one_device(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  check_residency(a, b.device(), "the left factor of a product");
  check_residency(out, b.device(), "the result of a product");
}

// The dimensions before a matrix's own.
at::IntArrayRef in_front(const at::Tensor& a) {
  return a.sizes().slice(0, static_cast<std::size_t>(a.dim() - 2));
}

}  // namespace

void product_out(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, double alpha,
                 double beta) {
  check_one_device(out, a, b);
  if (gemm_applies(out, a, b)) {
    if (out.scalar_type() == at::kFloat) return run_gemm<float>(out, a, b, alpha, beta);
    return run_gemm<double>(out, a, b, alpha, beta);
  }
  const at::NoGradGuard no_grad;
  if (out.dim() == 2) {
    at::addmm_out(out, out, a, b, beta, alpha);
  } else {
    at::baddbmm_out(out, out, a, b, beta, alpha);
  }
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  if (a.dim() > 3) {
    return product(a.flatten(0, -3), b.flatten(0, -3)).unflatten(0, in_front(a));
  }
  auto out = empty_product(a, b.size(-1));
  product_out(out, a, b);
  return out;
}

void gram_out(at::Tensor& out, const at::Tensor& a, double alpha, double beta) {
  if (!gemm_applies(out, a, a.mT())) {
    product_out(out, a, a.mT(), alpha, beta);
  } else if (out.scalar_type() == at::kFloat) {
    run_gram<float>(out, a, alpha, beta);
  } else {
    run_gram<double>(out, a, alpha, beta);
  }
}

at::Tensor gram(const at::Tensor& a) {
  if (a.dim() > 3) return gram(a.flatten(0, -3)).unflatten(0, in_front(a));
  auto out = empty_product(a, a.size(-2));
  gram_out(out, a);
  if (gemm_applies(out, a, a.mT())) return out;
  out.tril_();
  return out.add_(out.tril(-1).mT());
}

bool one_sample_applies(const at::Tensor& x, const at::Tensor& weight) {
  const auto dtype = weight.scalar_type();
  return x.dim() == 2 && x.size(0) == 1 && x.is_cpu() && weight.is_cpu() && x.is_contiguous() &&
         weight.is_contiguous() && weight.numel() <= kOneCore && x.scalar_type() == dtype &&
         (dtype == at::kFloat || dtype == at::kDouble);
}

void forward_product_out(at::Tensor& out, const at::Tensor& x, const at::Tensor& weight) {
  check_one_device(out, x, weight);
  if (!one_sample_applies(x, weight)) return product_out(out, x, weight.mT());
  const auto m = weight.size(0);
  const auto n = weight.size(1);
  if (weight.scalar_type() == at::kFloat) {
    HWY_DYNAMIC_DISPATCH(forward_f32)
    (data<float>(weight), m, n, data<float>(x), data<float>(out));
  } else {
    HWY_DYNAMIC_DISPATCH(forward_f64)
    (data<double>(weight), m, n, data<double>(x), data<double>(out));
  }
}

void backward_product_out(at::Tensor& out, const at::Tensor& e, const at::Tensor& weight) {
  check_one_device(out, e, weight);
  if (!one_sample_applies(e, weight)) return product_out(out, e, weight);
  const auto m = weight.size(0);
  const auto n = weight.size(1);
  if (weight.scalar_type() == at::kFloat) {
    HWY_DYNAMIC_DISPATCH(backward_f32)
    (data<float>(weight), m, n, data<float>(e), data<float>(out));
  } else {
    HWY_DYNAMIC_DISPATCH(backward_f64)
    (data<double>(weight), m, n, data<double>(e), data<double>(out));
  }
}

at::Tensor forward_product(const at::Tensor& x, const at::Tensor& weight) {
  auto out = empty_product(x, weight.size(-2));
  forward_product_out(out, x, weight);
  return out;
}

at::Tensor backward_product(const at::Tensor& e, const at::Tensor& weight) {
  auto out = empty_product(e, weight.size(-1));
  backward_product_out(out, e, weight);
  return out;
}

}  // namespace pcxx::linalg
#endif
