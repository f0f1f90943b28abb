#include <pcxx/optim/decorrelation.h>
#include <pcxx/optim/factory.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/recursive_projection.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

namespace pcxx::optim {

std::unique_ptr<Rescaling> make_rescaling(const RescalingOptions& o) {
  if (o.name == "none") return std::make_unique<Plain>();
  if (o.name == "alpha") {
    return std::make_unique<Alpha>(AlphaOptions{.denominator = o.denominator, .floor = o.floor});
  }
  if (o.name == "decorrelation") {
    return std::make_unique<Decorrelation>(DecorrelationOptions{
        .regularisation = o.regularisation, .spectrum = o.spectrum, .as_printed = o.as_printed});
  }
  if (o.name == "projection") {
    return std::make_unique<Projection>(ProjectionOptions{.regularisation = o.regularisation});
  }
  if (o.name == "recursive_projection") {
    return std::make_unique<RecursiveProjection>(
        RecursiveProjectionOptions{.forgetting = o.forgetting, .delta = o.delta});
  }
  TORCH_CHECK(false, "no rescaling is called '", o.name, "'");
}

Spectrum spectrum_from(std::string_view wanted) {
  for (const auto spectrum : {Spectrum::kSymmetric, Spectrum::kLower, Spectrum::kSingular}) {
    if (name(spectrum) == wanted) return spectrum;
  }
  TORCH_CHECK(false, "no spectrum is called '", wanted, "'");
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::string_view name,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate) {
  using namespace torch::optim;
  if (name == "sgd") return std::make_unique<SGD>(std::move(parameters), SGDOptions(learning_rate));
  if (name == "adam") {
    return std::make_unique<Adam>(std::move(parameters), AdamOptions(learning_rate));
  }
  if (name == "adamw") {
    return std::make_unique<AdamW>(std::move(parameters), AdamWOptions(learning_rate));
  }
  if (name == "rmsprop") {
    return std::make_unique<RMSprop>(std::move(parameters), RMSpropOptions(learning_rate));
  }
  TORCH_CHECK(false, "no optimizer is called '", name, "'");
}

}  // namespace pcxx::optim
