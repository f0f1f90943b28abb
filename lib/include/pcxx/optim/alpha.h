#pragma once

#include <pcxx/core/names.h>
#include <pcxx/optim/rescaling.h>

#include <cstdint>
#include <optional>

namespace pcxx::optim {

/// What c_l is the mean of.
enum class AlphaDenominator {
  kPreAndPost,   ///< u.xhat, Theorem 1: before and after inference
  kPresynaptic,  ///< u.u, the variant of appendix I
};

/// Of Alpha.
struct AlphaOptions {
  AlphaDenominator denominator = AlphaDenominator::kPreAndPost;
  /// With floor = phi, c_l is replaced by max(c_l, phi c_1): x*.xhat may be small, zero or negative
  /// in deep networks, and the literal rule then learns at no rate.
  std::optional<double> floor;
};

/// `alpha` (Theorem 1, eq. 24-25): D_l / c_l, c_l = mean_b(u_{l-1,b} . xhat_{l-1,b}). At B = 1 with
/// predictive coding the first-order change of the prediction is exactly the residual.
class Alpha final : public Rescaling {
 public:
  explicit Alpha(AlphaOptions options = {}) : options_(options) {}

  std::vector<Direction> directions(const std::vector<learning::LayerFactors>& layers) override;
  /// E^T U and the sum of c_l's products.
  std::vector<at::Tensor> sums(const learning::LayerFactors& layer) const override;
  std::string_view name() const override { return "alpha"; }
  std::map<std::string, double> diagnostics() const override;

  /// How often so far a layer's c_l was 0, which leaves that layer's update at 0.
  std::int64_t zero_denominators() const { return zero_denominators_; }

 private:
  AlphaOptions options_;
  std::int64_t zero_denominators_ = 0;
};

}  // namespace pcxx::optim

template <>
inline constexpr auto pcxx::kNames<pcxx::optim::AlphaDenominator> =
    std::to_array<pcxx::Named<pcxx::optim::AlphaDenominator>>(
        {{pcxx::optim::AlphaDenominator::kPreAndPost, "pre_and_post"},
         {pcxx::optim::AlphaDenominator::kPresynaptic, "presynaptic"}});
