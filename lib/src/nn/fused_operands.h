#pragma once

#include <pcxx/nn/activation.h>

#include <cstdint>

/// Operands of the fused loops as raw pointers; row b starts at pointer + b * width. Pointers that
/// may be null are named so in fused.h.
namespace pcxx::nn::fused {

struct Rows {
  FusedLoops loops;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t width;
};

template <typename T>
struct ActivateAndAdd {
  T* a;
  const T* eps;
  const T* below;
  T* x;
};

template <typename T>
struct OutputError {
  T* a;
  const T* target;
  const T* below;
  T* r;
  T* h;
  T* squares;
};

template <typename T>
struct OutputRoundTrip {
  OutputError<T> output;
  const T* weight;
  const T* x;
  T* delta;
  std::int64_t inputs;
};

template <typename T>
struct Descend {
  T* eps;
  const T* delta;
  const T* a;
  const T* step;
  T* gradient_squares;
  T* error_squares;
  T* h;
};

template <typename T>
struct Gradient {
  const T* eps;
  const T* delta;
  const T* a;
  T* gradient;
  T* gradient_squares;
  T* error_squares;
  T* h;
};

template <typename T>
struct TimesSlope {
  const T* g;
  const T* a;
  T* h;
};

}  // namespace pcxx::nn::fused
