#pragma once

#include <gtest/gtest.h>
#include <pcxx/optim/alpha.h>
#include <pcxx/optim/decorrelation.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/recursive_projection.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

namespace pcxx::test {

/// The options of all rescalings, for tests of every one; each takes those that concern it.
struct RescalingOptions {
  std::string name = "none";
  double regularisation = 0;                               ///< decorrelation, projection
  optim::Spectrum spectrum = optim::Spectrum::kSymmetric;  ///< decorrelation
  bool as_printed = false;                                 ///< decorrelation
  optim::AlphaDenominator denominator = optim::AlphaDenominator::kPreAndPost;  ///< alpha
  std::optional<double> floor = std::nullopt;                                  ///< alpha
  double forgetting = 0.95;  ///< recursive_projection
  double delta = 1;          ///< recursive_projection
};

inline std::unique_ptr<optim::Rescaling> make_rescaling(const RescalingOptions& o) {
  if (o.name == "none") return std::make_unique<optim::Plain>();
  if (o.name == "alpha") {
    return std::make_unique<optim::Alpha>(
        optim::AlphaOptions{.denominator = o.denominator, .floor = o.floor});
  }
  if (o.name == "decorrelation") {
    return std::make_unique<optim::Decorrelation>(optim::DecorrelationOptions{
        .regularisation = o.regularisation, .spectrum = o.spectrum, .as_printed = o.as_printed});
  }
  if (o.name == "projection") {
    return std::make_unique<optim::Projection>(
        optim::ProjectionOptions{.regularisation = o.regularisation});
  }
  if (o.name == "recursive_projection") {
    return std::make_unique<optim::RecursiveProjection>(
        optim::RecursiveProjectionOptions{.forgetting = o.forgetting, .prior_scale = o.delta});
  }
  throw std::invalid_argument("no rescaling is called " + o.name);
}

}  // namespace pcxx::test
