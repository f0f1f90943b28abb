#pragma once

#include <cstdint>

/// The vectors of one sample's L-BFGS, as the loops in quasi_newton_rows.cpp take them. A sample's
/// vector of n numbers is the rows of all hidden layers one after the other.
namespace pcxx::inference {

/// A layer's row: n numbers of the variable, and of its gradient.
template <typename T>
struct LayerRow {
  T* variable;
  const T* gradient;
  std::int64_t n;
};

template <typename T>
struct SampleVectors {
  const LayerRow<T>* layers;
  std::int64_t depth;  // how many layers
  std::int64_t n;
  T* point;         // [n], the best so far
  T* gradient;      // [n], there
  T* steps;         // [pairs][n]
  T* changes;       // [pairs][n], of the gradient
  double* inverse;  // [pairs], 1 / (step . change); 0 where a pair is not to be used
};

/// Inner products of a new pair.
struct PairProducts {
  double step_step;
  double step_change;
  double change_change;
};

/// From the layers' rows into point and gradient.
template <typename T>
void stay(const SampleVectors<T>& v);

/// The pair number `slot`: the way from `point` to the layers' rows.
template <typename T>
PairProducts remember(const SampleVectors<T>& v, int slot);

/// The variables become point - length * H gradient, H from the pairs `newest`, newest - 1, ...
/// (`count` of them, round a ring of `pairs`) on scale * I. Returns gradient . H gradient.
template <typename T>
double move(const SampleVectors<T>& v, int newest, int count, int pairs, double scale,
            double length);

/// The variables become point.
template <typename T>
void go_back(const SampleVectors<T>& v);

}  // namespace pcxx::inference
