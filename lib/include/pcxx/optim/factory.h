#pragma once

#include <pcxx/optim/alpha.h>
#include <pcxx/optim/regularisation.h>
#include <pcxx/optim/rescaling.h>
#include <torch/optim/optimizer.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Rescalings and optimizers by the names that configs use.
namespace pcxx::optim {

/// The options of all rescalings; each takes those that concern it.
struct RescalingOptions {
  std::string name = "none";
  double regularisation = 0;                                     ///< decorrelation, projection
  Spectrum spectrum = Spectrum::kSymmetric;                      ///< decorrelation
  bool as_printed = false;                                       ///< decorrelation
  AlphaDenominator denominator = AlphaDenominator::kPreAndPost;  ///< alpha
  std::optional<double> floor = std::nullopt;                    ///< alpha
  double forgetting = 0.95;                                      ///< recursive_projection
  double delta = 1;                                              ///< recursive_projection
};

/// "none", "alpha", "decorrelation", "projection", "recursive_projection". Throws c10::Error on
/// any other name.
std::unique_ptr<Rescaling> make_rescaling(const RescalingOptions& options);

/// "symmetric", "lower", "singular". Throws c10::Error on any other name.
Spectrum spectrum_from(std::string_view name);

/// "sgd", "adam", "adamw", "rmsprop", with PyTorch's defaults but for the rate. Throws c10::Error
/// on any other name.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::string_view name,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate);

}  // namespace pcxx::optim
