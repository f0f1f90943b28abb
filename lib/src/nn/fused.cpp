#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <pcxx/linalg/products.h>
#include <pcxx/nn/fused.h>

#include "nn/fused_operands.h"

// The SIMD part is compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/fused.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>
// After foreach_target.
#include "linalg/simd-inl.h"
#include "nn/activations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pcxx::nn::fused::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace linalg::simd::HWY_NAMESPACE;
using namespace nn::HWY_NAMESPACE;

template <typename T>
T* at_row(T* start, int64_t offset) {
  return start ? start + offset : nullptr;
}

template <typename T, class F>
void one_row(const F& f, int64_t n, int64_t b, const ActivateAndAdd<T>& o) {
  const int64_t row = b * n;
  const T* below = at_row(o.below, row);
  for_lanes<T>(n, [&](auto d, int64_t i) {
    const auto value = f.f(d, hn::LoadU(d, o.a + row + i));
    hn::StoreU(value, d, o.a + row + i);
    auto sum = hn::Add(value, hn::LoadU(d, o.eps + row + i));
    if (below) sum = hn::Add(sum, hn::LoadU(d, below + i));
    hn::StoreU(sum, d, o.x + row + i);
  });
}

template <typename T, class F>
void one_row(const F& f, int64_t n, int64_t b, const OutputError<T>& o) {
  const int64_t row = b * n;
  const T* below = at_row(o.below, row);
  T* h = at_row(o.h, row);
  o.squares[b] = sum_of_squares<T>(n, [&](auto d, int64_t i) {
    const auto value = f.f(d, hn::LoadU(d, o.a + row + i));
    hn::StoreU(value, d, o.a + row + i);
    auto error = hn::Sub(hn::LoadU(d, o.target + row + i), value);
    if (below) error = hn::Sub(error, hn::LoadU(d, below + i));
    hn::StoreU(error, d, o.r + row + i);
    if (h) hn::StoreU(hn::Mul(error, f.slope(d, value)), d, h + i);
    return error;
  });
}

// In tiles of W that stay in the first cache between their way forward and their way back.
template <typename T, class F>
void one_row(const F& f, int64_t n, int64_t, const OutputRoundTrip<T>& o) {
  constexpr int64_t kTile = 16;
  const auto& out = o.output;
  const T* e = out.h ? out.h : out.r;
  std::fill(o.delta, o.delta + o.inputs, T{0});
  out.squares[0] = 0;
  for (int64_t i = 0; i < n; i += kTile) {
    const int64_t rows = std::min(kTile, n - i);
    const T* tile = o.weight + i * o.inputs;
    T squares = 0;
    times_column(tile, rows, o.inputs, o.x, out.a + i);
    one_row(
        f, rows, 0,
        OutputError<T>{out.a + i, out.target + i, nullptr, out.r + i, at_row(out.h, i), &squares});
    out.squares[0] += squares;
    add_row_times(e + i, tile, rows, o.inputs, o.delta);
  }
}

template <typename T, class F>
void one_row(const F& f, int64_t n, int64_t b, const Descend<T>& o) {
  const int64_t row = b * n;
  T* h = at_row(o.h, row);
  const T step = o.step[b];
  o.error_squares[b] +=
      sum_of_squares<T>(n, [&](auto d, int64_t i) { return hn::LoadU(d, o.eps + row + i); });
  o.gradient_squares[b] += sum_of_squares<T>(n, [&](auto d, int64_t i) {
    const auto eps = hn::LoadU(d, o.eps + row + i);
    const auto delta = hn::LoadU(d, o.delta + row + i);
    const auto gradient = hn::Sub(eps, delta);
    hn::StoreU(hn::NegMulAdd(hn::Set(d, step), gradient, eps), d, o.eps + row + i);
    if (h) hn::StoreU(hn::Mul(delta, f.slope(d, hn::LoadU(d, o.a + row + i))), d, h + i);
    return gradient;
  });
}

template <typename T, class F>
void one_row(const F& f, int64_t n, int64_t b, const Gradient<T>& o) {
  const int64_t row = b * n;
  T* h = at_row(o.h, row);
  o.error_squares[b] +=
      sum_of_squares<T>(n, [&](auto d, int64_t i) { return hn::LoadU(d, o.eps + row + i); });
  o.gradient_squares[b] += sum_of_squares<T>(n, [&](auto d, int64_t i) {
    const auto delta = hn::LoadU(d, o.delta + row + i);
    const auto gradient = hn::Sub(hn::LoadU(d, o.eps + row + i), delta);
    hn::StoreU(gradient, d, o.gradient + row + i);
    if (h) hn::StoreU(hn::Mul(delta, f.slope(d, hn::LoadU(d, o.a + row + i))), d, h + i);
    return gradient;
  });
}

template <typename T, class F>
void one_row(const F& f, int64_t n, int64_t b, const TimesSlope<T>& o) {
  const int64_t row = b * n;
  for_lanes<T>(n, [&](auto d, int64_t i) {
    const auto slope = f.slope(d, hn::LoadU(d, o.a + row + i));
    hn::StoreU(hn::Mul(hn::LoadU(d, o.g + row + i), slope), d, o.h + row + i);
  });
}

template <class F, class Operands>
void all_rows(const F& f, const Rows& rows, const Operands& operands) {
  for (int64_t b = rows.begin; b < rows.end; ++b) one_row(f, rows.width, b, operands);
}

template <class Operands>
void run(const Rows& rows, const Operands& operands) {
  switch (rows.loops) {
    case FusedLoops::kNone:
      return;  // loops_apply keeps it away
    case FusedLoops::kIdentity:
      return all_rows(Identity(), rows, operands);
    case FusedLoops::kReLU:
      return all_rows(ReLU(), rows, operands);
    case FusedLoops::kSigmoid:
      return all_rows(Sigmoid(), rows, operands);
    case FusedLoops::kTanh:
      return all_rows(Tanh(), rows, operands);
    case FusedLoops::kLeakyReLU:
      return all_rows(LeakyReLU(), rows, operands);
  }
}

// Highway's dispatch table takes plain functions.
void activate_and_add_f32(const Rows& r, const ActivateAndAdd<float>& o) {
  run(r, o);
}
void activate_and_add_f64(const Rows& r, const ActivateAndAdd<double>& o) {
  run(r, o);
}
void output_error_f32(const Rows& r, const OutputError<float>& o) {
  run(r, o);
}
void output_error_f64(const Rows& r, const OutputError<double>& o) {
  run(r, o);
}
void output_round_trip_f32(const Rows& r, const OutputRoundTrip<float>& o) {
  run(r, o);
}
void output_round_trip_f64(const Rows& r, const OutputRoundTrip<double>& o) {
  run(r, o);
}
void descend_f32(const Rows& r, const Descend<float>& o) {
  run(r, o);
}
void descend_f64(const Rows& r, const Descend<double>& o) {
  run(r, o);
}
void gradient_f32(const Rows& r, const Gradient<float>& o) {
  run(r, o);
}
void gradient_f64(const Rows& r, const Gradient<double>& o) {
  run(r, o);
}
void times_slope_f32(const Rows& r, const TimesSlope<float>& o) {
  run(r, o);
}
void times_slope_f64(const Rows& r, const TimesSlope<double>& o) {
  run(r, o);
}

}  // namespace pcxx::nn::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::nn::fused {

HWY_EXPORT(activate_and_add_f32);
HWY_EXPORT(activate_and_add_f64);
HWY_EXPORT(output_error_f32);
HWY_EXPORT(output_error_f64);
HWY_EXPORT(output_round_trip_f32);
HWY_EXPORT(output_round_trip_f64);
HWY_EXPORT(descend_f32);
HWY_EXPORT(descend_f64);
HWY_EXPORT(gradient_f32);
HWY_EXPORT(gradient_f64);
HWY_EXPORT(times_slope_f32);
HWY_EXPORT(times_slope_f64);

namespace {

void dispatch(const Rows& r, const ActivateAndAdd<float>& o) {
  HWY_DYNAMIC_DISPATCH(activate_and_add_f32)(r, o);
}
void dispatch(const Rows& r, const ActivateAndAdd<double>& o) {
  HWY_DYNAMIC_DISPATCH(activate_and_add_f64)(r, o);
}
void dispatch(const Rows& r, const OutputError<float>& o) {
  HWY_DYNAMIC_DISPATCH(output_error_f32)(r, o);
}
void dispatch(const Rows& r, const OutputError<double>& o) {
  HWY_DYNAMIC_DISPATCH(output_error_f64)(r, o);
}
void dispatch(const Rows& r, const OutputRoundTrip<float>& o) {
  HWY_DYNAMIC_DISPATCH(output_round_trip_f32)(r, o);
}
void dispatch(const Rows& r, const OutputRoundTrip<double>& o) {
  HWY_DYNAMIC_DISPATCH(output_round_trip_f64)(r, o);
}
void dispatch(const Rows& r, const Descend<float>& o) {
  HWY_DYNAMIC_DISPATCH(descend_f32)(r, o);
}
void dispatch(const Rows& r, const Descend<double>& o) {
  HWY_DYNAMIC_DISPATCH(descend_f64)(r, o);
}
void dispatch(const Rows& r, const Gradient<float>& o) {
  HWY_DYNAMIC_DISPATCH(gradient_f32)(r, o);
}
void dispatch(const Rows& r, const Gradient<double>& o) {
  HWY_DYNAMIC_DISPATCH(gradient_f64)(r, o);
}
void dispatch(const Rows& r, const TimesSlope<float>& o) {
  HWY_DYNAMIC_DISPATCH(times_slope_f32)(r, o);
}
void dispatch(const Rows& r, const TimesSlope<double>& o) {
  HWY_DYNAMIC_DISPATCH(times_slope_f64)(r, o);
}

// Elements a thread should have at least: below, starting a thread costs more than the work.
constexpr int64_t kGrain = 32768;

template <class Operands>
void over_rows(const at::Tensor& shape, Activation activation, const Operands& operands) {
  const int64_t width = shape.size(-1);
  const int64_t rows = width == 0 ? 0 : shape.numel() / width;
  const auto loops = activation.function().loops;
  if (rows * width <= kGrain) {
    dispatch({loops, 0, rows, width}, operands);
    return;
  }
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / width), [&](int64_t begin, int64_t end) {
    dispatch({loops, begin, end, width}, operands);
  });
}

// The SIMD loops read memory row by row: every operand contiguous, on the CPU, float32 or float64.
template <class... Tensors>
bool loops_apply(Activation activation, const at::Tensor& first, const Tensors&... others) {
  if (activation.function().loops == FusedLoops::kNone) return false;
  const auto dtype = first.scalar_type();
  const auto fits = [&](const at::Tensor& t) {
    return !t.defined() || (t.is_cpu() && t.is_contiguous() && t.scalar_type() == dtype);
  };
  return (dtype == at::kFloat || dtype == at::kDouble) && fits(first) && (fits(others) && ...);
}

template <typename T>
T* data(const at::Tensor& t) {
  return t.defined() ? static_cast<T*>(t.data_ptr()) : nullptr;
}

// body(T()) with T the tensor's element type.
template <class Body>
void with_element_type(const at::Tensor& t, const Body& body) {
  if (t.scalar_type() == at::kFloat) {
    body(float());
  } else {
    body(double());
  }
}

}  // namespace

void activate_and_add(at::Tensor& a, const at::Tensor& eps, const at::Tensor& below,
                      Activation activation, at::Tensor& x) {
  if (!loops_apply(activation, a, eps, below, x)) {
    activate_(a, activation);
    at::add_out(x, a, eps);
    if (below.defined()) x.add_(below);
    return;
  }
  with_element_type(a, [&](auto zero) {
    using T = decltype(zero);
    over_rows(a, activation,
              ActivateAndAdd<T>{data<T>(a), data<T>(eps), data<T>(below), data<T>(x)});
  });
}

void output_error(at::Tensor& a, const at::Tensor& target, const at::Tensor& below,
                  Activation activation, at::Tensor& r, at::Tensor& h, at::Tensor& squares) {
  if (!loops_apply(activation, a, target, below, r, h, squares)) {
    activate_(a, activation);
    at::sub_out(r, target, a);
    if (below.defined()) r.sub_(below);
    if (h.defined()) {
      h.copy_(r);
      multiply_slope_(h, a, activation);
    }
    squares.copy_(r.square().sum(-1));
    return;
  }
  with_element_type(a, [&](auto zero) {
    using T = decltype(zero);
    over_rows(a, activation,
              OutputError<T>{data<T>(a), data<T>(target), data<T>(below), data<T>(r), data<T>(h),
                             data<T>(squares)});
  });
}

void output_round_trip(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& target,
                       Activation activation, at::Tensor& a, at::Tensor& r, at::Tensor& h,
                       at::Tensor& squares, at::Tensor& delta) {
  if (!linalg::one_sample_applies(x, weight) ||
      !loops_apply(activation, weight, target, a, r, h, squares, delta)) {
    linalg::forward_product_out(a, x, weight);
    output_error(a, target, {}, activation, r, h, squares);
    linalg::backward_product_out(delta, h.defined() ? h : r, weight);
    return;
  }
  with_element_type(a, [&](auto zero) {
    using T = decltype(zero);
    const OutputError<T> output{data<T>(a), data<T>(target), nullptr,
                                data<T>(r), data<T>(h),      data<T>(squares)};
    dispatch({activation.function().loops, 0, 1, a.size(-1)},
             OutputRoundTrip<T>{output, data<T>(weight), data<T>(x), data<T>(delta), x.size(-1)});
  });
}

namespace {

// `gradient` where the loops do not apply.
void gradient_by_tensors(const at::Tensor& eps, const at::Tensor& delta, const at::Tensor& a,
                         Activation activation, at::Tensor& gradient, at::Tensor& gradient_squares,
                         at::Tensor& error_squares, at::Tensor& h) {
  at::sub_out(gradient, eps, delta);
  gradient_squares.add_(gradient.square().sum(-1));
  error_squares.add_(eps.square().sum(-1));
  if (!h.defined()) return;
  h.copy_(delta);
  multiply_slope_(h, a, activation);
}

}  // namespace

void descend(at::Tensor& eps, const at::Tensor& delta, const at::Tensor& a, Activation activation,
             const at::Tensor& step, at::Tensor& gradient_squares, at::Tensor& error_squares,
             at::Tensor& h) {
  if (!loops_apply(activation, eps, delta, a, step, gradient_squares, error_squares, h)) {
    auto difference = at::empty_like(eps);
    gradient_by_tensors(eps, delta, a, activation, difference, gradient_squares, error_squares, h);
    eps.addcmul_(difference, step.unsqueeze(-1), -1);
    return;
  }
  with_element_type(eps, [&](auto zero) {
    using T = decltype(zero);
    over_rows(eps, activation,
              Descend<T>{data<T>(eps), data<T>(delta), data<T>(a), data<T>(step),
                         data<T>(gradient_squares), data<T>(error_squares), data<T>(h)});
  });
}

void gradient(const at::Tensor& eps, const at::Tensor& delta, const at::Tensor& a,
              Activation activation, at::Tensor& gradient, at::Tensor& gradient_squares,
              at::Tensor& error_squares, at::Tensor& h) {
  if (!loops_apply(activation, eps, delta, a, gradient, gradient_squares, error_squares, h)) {
    gradient_by_tensors(eps, delta, a, activation, gradient, gradient_squares, error_squares, h);
    return;
  }
  with_element_type(eps, [&](auto zero) {
    using T = decltype(zero);
    over_rows(eps, activation,
              Gradient<T>{data<T>(eps), data<T>(delta), data<T>(a), data<T>(gradient),
                          data<T>(gradient_squares), data<T>(error_squares), data<T>(h)});
  });
}

at::Tensor times_slope(const at::Tensor& g, const at::Tensor& a, Activation activation) {
  if (activation == Activation::kIdentity) return g;
  if (!loops_apply(activation, g, a)) {
    auto h = g.clone();
    multiply_slope_(h, a, activation);
    return h;
  }
  auto h = at::empty_like(g);
  with_element_type(g, [&](auto zero) {
    using T = decltype(zero);
    over_rows(g, activation, TimesSlope<T>{data<T>(g), data<T>(a), data<T>(h)});
  });
  return h;
}

}  // namespace pcxx::nn::fused
#endif
