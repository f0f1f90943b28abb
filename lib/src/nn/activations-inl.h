// Activations over vectors of the processor, compiled once per instruction set by the file that
// includes it after <hwy/foreach_target.h>.
#if defined(PCXX_NN_ACTIVATIONS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef PCXX_NN_ACTIVATIONS_INL_H
#undef PCXX_NN_ACTIVATIONS_INL_H
#else
#define PCXX_NN_ACTIVATIONS_INL_H
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pcxx::nn::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// f and f' (from a = f(z)) of each activation, over a vector type.
struct Identity {
  template <class D, class V>
  V f(D, V z) const {
    return z;
  }
  template <class D, class V>
  V slope(D d, V) const {
    return hn::Set(d, hn::TFromD<D>(1));
  }
};
struct ReLU {
  template <class D, class V>
  V f(D d, V z) const {
    // NaN stays NaN, as in PyTorch; Max would drop it.
    return hn::IfThenElse(hn::Le(z, hn::Zero(d)), hn::Zero(d), z);
  }
  template <class D, class V>
  V slope(D d, V a) const {
    return hn::IfThenElseZero(hn::Gt(a, hn::Zero(d)), hn::Set(d, hn::TFromD<D>(1)));
  }
};
struct Sigmoid {
  template <class D, class V>
  V f(D d, V z) const {
    using T = hn::TFromD<D>;
    const auto one = hn::Set(d, T(1));
    // Highway's Exp is right up to this only, and turns NaN into a number: put it back.
    const auto limit = hn::Set(d, T(sizeof(T) == 4 ? 104 : 706));
    const auto sigma = hn::Div(one, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(z), limit))));
    return hn::IfThenElse(hn::Eq(z, z), sigma, z);
  }
  template <class D, class V>
  V slope(D d, V a) const {
    return hn::Mul(a, hn::Sub(hn::Set(d, hn::TFromD<D>(1)), a));
  }
};
struct Tanh {
  template <class D, class V>
  V f(D d, V z) const {
    return hn::IfThenElse(hn::Eq(z, z), hn::Tanh(d, z), z);
  }
  template <class D, class V>
  V slope(D d, V a) const {
    return hn::NegMulAdd(a, a, hn::Set(d, hn::TFromD<D>(1)));
  }
};
struct LeakyReLU {
  template <class D, class V>
  V f(D d, V z) const {
    return hn::IfThenElse(hn::Gt(z, hn::Zero(d)), z, hn::Mul(z, hn::Set(d, hn::TFromD<D>(0.01))));
  }
  template <class D, class V>
  V slope(D d, V a) const {
    return hn::IfThenElse(hn::Gt(a, hn::Zero(d)), hn::Set(d, hn::TFromD<D>(1)),
                          hn::Set(d, hn::TFromD<D>(0.01)));
  }
};

}  // namespace pcxx::nn::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
