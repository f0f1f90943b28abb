#include "inference/quasi_newton.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "inference/quasi_newton_rows.h"

namespace pcxx::inference {

// What the solver knows of each row; T stays inside.
class QuasiNewton::Rows {
 public:
  virtual ~Rows() = default;
  virtual void step(std::vector<at::Tensor>& variables, const std::vector<at::Tensor>& gradients,
                    SampleControl& control, bool last) = 0;
  virtual void keep(const at::Tensor& rows) = 0;
};

template <typename T>
class QuasiNewton::RowsOf final : public Rows {
 public:
  RowsOf(std::size_t rows, int pairs) : pairs_(pairs), rows_(rows) {
    for (auto& row : rows_) row.inverse.resize(static_cast<std::size_t>(pairs));
  }

  void step(std::vector<at::Tensor>& variables, const std::vector<at::Tensor>& gradients,
            SampleControl& control, bool last) override {
    if (memory_.empty()) allocate(variables);
    constexpr std::int64_t kGrain = 4;  // rows worth a thread
    at::parallel_for(0, static_cast<std::int64_t>(rows_.size()), kGrain,
                     [&](std::int64_t begin, std::int64_t end) {
                       std::vector<LayerRow<T>> layers(variables.size());
                       for (auto row = begin; row < end; ++row) {
                         const auto r = static_cast<std::size_t>(row);
                         if (!control.active(r)) continue;
                         for (std::size_t l = 0; l < layers.size(); ++l) {
                           const auto n = variables[l].size(-1);
                           layers[l] = {variables[l].template mutable_data_ptr<T>() + row * n,
                                        gradients[l].template const_data_ptr<T>() + row * n, n};
                         }
                         step(r, vectors(r, layers), control, last);
                       }
                     });
  }

  void keep(const at::Tensor& kept) override {
    const auto* index = kept.const_data_ptr<std::int64_t>();
    std::vector<Row> rows;
    std::vector<std::vector<T>> memory;
    for (std::int64_t i = 0; i < kept.numel(); ++i) {
      const auto from = static_cast<std::size_t>(index[i]);
      rows.push_back(std::move(rows_[from]));
      memory.push_back(std::move(memory_[from]));
    }
    rows_ = std::move(rows);
    memory_ = std::move(memory);
  }

 private:
  struct Row {
    bool started = false;
    int newest = -1;
    int count = 0;
    double scale = 0.1;  // of the first step, a gradient step, safe up to a curvature of 20
    double length = 1;   // part of the quasi-Newton step that is tried
    double slope = 0;    // gradient . direction, at the point it leads from
    double energy = 0;
    double gradient_norm = 0;
    std::vector<double> inverse;  // [pairs]
  };

  void allocate(const std::vector<at::Tensor>& variables) {
    for (const auto& variable : variables) size_ += variable.size(-1);
    memory_.resize(rows_.size());
    for (auto& numbers : memory_) {
      numbers.resize(static_cast<std::size_t>((2 + 2 * pairs_) * size_));
    }
  }

  SampleVectors<T> vectors(std::size_t row, const std::vector<LayerRow<T>>& layers) {
    T* at = memory_[row].data();
    return {.layers = layers.data(),
            .depth = static_cast<std::int64_t>(layers.size()),
            .n = size_,
            .point = at,
            .gradient = at + size_,
            .steps = at + 2 * size_,
            .changes = at + (2 + pairs_) * size_,
            .inverse = rows_[row].inverse.data()};
  }

  void step(std::size_t r, const SampleVectors<T>& v, SampleControl& control, bool last) {
    auto& row = rows_[r];
    if (row.started) learn(row, v);
    const double energy = control.energy(r);
    const double norm = control.gradient_norm(r);
    if (!row.started || is_lower(row, energy, norm, control.rounding())) {
      row.started = true;
      row.energy = energy;
      row.gradient_norm = norm;
      row.length = 1;
      stay(v);
      control.accept(r);
    } else {
      const double promise = row.length * row.slope;
      const bool can_be_shorter = shorten(row);
      control.reject(r, promise, can_be_shorter);
    }
    if (last || !control.active(r)) {
      go_back(v);
      return;
    }
    row.slope = move(v, row.newest, row.count, pairs_, row.scale, row.length);
  }

  // Armijo's condition; where the energy falls by no more than its rounding, the gradient decides.
  static bool is_lower(const Row& row, double energy, double norm, double rounding) {
    constexpr double kPart = 1e-4;
    if (!std::isfinite(energy) || !std::isfinite(norm)) return false;
    return energy <= row.energy - kPart * row.length * row.slope ||
           (energy <= row.energy * (1 + rounding) && norm <= row.gradient_norm);
  }

  // Steps far shorter than the quasi-Newton one come of pairs from another piece of the energy.
  static bool shorten(Row& row) {
    constexpr double kShorter = 0.3;
    constexpr double kForget = 1e-3;
    row.length *= kShorter;
    if (row.length >= kForget) return true;
    row.count = 0;
    row.length = 1;
    return false;
  }

  void learn(Row& row, const SampleVectors<T>& v) const {
    constexpr double kLeastCurvature = 1e-10;
    const int slot = (row.newest + 1) % pairs_;
    const auto pair = remember(v, slot);
    if (!std::isfinite(pair.step_change) || !std::isfinite(pair.change_change) ||
        pair.step_change <= kLeastCurvature * pair.step_step) {
      return;
    }
    row.newest = slot;
    row.count = std::min(row.count + 1, pairs_);
    row.inverse[static_cast<std::size_t>(slot)] = 1 / pair.step_change;
    row.scale = pair.step_change / pair.change_change;
  }

  int pairs_;
  std::int64_t size_ = 0;
  std::vector<Row> rows_;
  std::vector<std::vector<T>> memory_;
};

QuasiNewton::QuasiNewton(const at::Tensor& like, int pairs) : like_(like) {
  const auto rows = static_cast<std::size_t>(like.numel());
  TORCH_CHECK(like.scalar_type() == at::kFloat || like.scalar_type() == at::kDouble,
              "L-BFGS works in float32 or float64, not in ", like.dtype());
  if (like.scalar_type() == at::kFloat) {
    rows_ = std::make_unique<RowsOf<float>>(rows, pairs);
  } else {
    rows_ = std::make_unique<RowsOf<double>>(rows, pairs);
  }
}

QuasiNewton::~QuasiNewton() = default;

void QuasiNewton::step(Energy& energy, SampleControl& control, bool last) {
  const auto gradients = energy.gradients();
  control.read(energy);
  auto variables = energy.variables();
  if (like_.is_cpu()) {
    rows_->step(variables, gradients, control, last);
    return;
  }
  // A few hundred numbers a sample: the bookkeeping is done on the host.
  std::vector<at::Tensor> host_variables;
  std::vector<at::Tensor> host_gradients;
  for (const auto& variable : variables) host_variables.push_back(variable.cpu());
  for (const auto& gradient : gradients) host_gradients.push_back(gradient.cpu());
  rows_->step(host_variables, host_gradients, control, last);
  for (std::size_t l = 0; l < variables.size(); ++l) variables[l].copy_(host_variables[l]);
}

void QuasiNewton::keep(const at::Tensor& rows) {
  rows_->keep(rows.cpu());
}

at::Tensor QuasiNewton::step_sizes() const {
  return at::zeros_like(like_);
}

}  // namespace pcxx::inference
