#pragma once

#include <pcxx/config/part.h>
#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/inference.h>

#include <memory>
#include <vector>

/// The inference methods as configs name them. Each is described in its own file; the list is here.
namespace pcxx::inference {

/// A value of `inference`.
///   linear_only  for networks of linear Dense layers
struct InferencePart : config::Part<std::shared_ptr<const Inference>(const config::Config&)> {
  bool linear_only = false;
};

InferencePart closed_form_part();
InferencePart lbfgs_part();
InferencePart error_descent_part();
InferencePart state_descent_part();

inline std::vector<InferencePart> inference_parts() {
  return {closed_form_part(), lbfgs_part(), error_descent_part(), state_descent_part()};
}

/// The options that iterative methods share.
config::OptionKeys<DescentOptions> descent_keys();

}  // namespace pcxx::inference
