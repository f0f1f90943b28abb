#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/energy.h>
#include <pcxx/inference/report.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace pcxx::inference {

/// When each sample of an inference stops, shared by all solvers. Bookkeeping is a handful of
/// numbers a sample: plain loops on the CPU, for any device.
///
/// A solver reads a point, then says of each active row whether it stays there. Rows are the
/// samples at hand: all of them, until `drop_finished` leaves some out.
class SampleControl {
 public:
  /// like: [B] or [R, B], in the network's dtype and device.
  SampleControl(const DescentOptions& options, const at::Tensor& like);

  /// Takes gradient norms and energies of the energy's last way back; counts a pass.
  void read(const Energy& energy);

  std::size_t rows() const { return rows_.size(); }
  bool active(std::size_t row) const { return sample(row).state == State::kActive; }
  bool any_active() const;
  /// Which rows are active, bool, [rows].
  at::Tensor active_rows() const;
  double gradient_norm(std::size_t row) const { return gradient_norm_[row]; }
  double energy(std::size_t row) const { return energy_[row]; }
  double rounding() const { return rounding_; }

  /// The row stays at the point just read: stops if that is good enough. False when its energy is
  /// higher than at the point before.
  bool accept(std::size_t row);
  /// The row goes back, from a step that was to lower its energy by `promise`: stops if that
  /// is not worth another one, or is less than rounding and no shorter step is left to try.
  void reject(std::size_t row, double promise, bool can_be_shorter);
  /// A Rayleigh quotient of the row's Hessian.
  void see_curvature(std::size_t row, double value);
  /// Of all rows.
  void see_curvatures(const at::Tensor& values);
  /// The row's step size is above 2 / curvature: it stops, unless such are kept.
  void call_unstable(std::size_t row, double curvature);

  /// The active rows (int64, of the rows at hand), once they are few enough for the others to be
  /// left out; they are all the rows there are from then on.
  std::optional<at::Tensor> drop_finished();
  /// Samples of the rows at hand, int64.
  at::Tensor samples() const;

  /// step_size, energy: of all samples, shaped like `like`.
  Report report(std::string_view method, const at::Tensor& step_size,
                const at::Tensor& energy) const;

 private:
  enum class State : std::uint8_t { kActive, kConverged, kFailed };

  struct Sample {
    State state = State::kActive;
    bool unstable = false;
    double first_gradient = 0;
    double gradient_norm = 0;
    double energy = 0;
    double curvature = 0;
    std::int64_t passes = 0;
  };

  Sample& sample(std::size_t row) { return samples_[static_cast<std::size_t>(rows_[row])]; }
  const Sample& sample(std::size_t row) const {
    return samples_[static_cast<std::size_t>(rows_[row])];
  }
  template <typename Value>
  at::Tensor collect(at::ScalarType dtype, const Value& value) const;

  DescentOptions options_;
  at::Tensor like_;
  double rounding_;
  std::int64_t passes_ = 0;
  std::vector<std::int64_t> rows_;
  std::vector<Sample> samples_;
  std::vector<double> gradient_norm_;
  std::vector<double> energy_;
};

}  // namespace pcxx::inference
