#pragma once

#include <pcxx/config/part.h>
#include <pcxx/nn/loss.h>

#include <memory>
#include <vector>

/// The losses as configs name them. Each is described in its own file; the list is here.
namespace pcxx::nn {

using LossPart = config::Part<std::shared_ptr<const Loss>(const config::Config&)>;

LossPart squared_error_part();
LossPart cross_entropy_part();
LossPart binary_cross_entropy_part();

inline std::vector<LossPart> loss_parts() {
  return {squared_error_part(), cross_entropy_part(), binary_cross_entropy_part()};
}

}  // namespace pcxx::nn
