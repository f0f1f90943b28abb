#pragma once

#include <pcxx/nn/network.h>

#include <vector>

namespace pcxx::inference {

/// Where the energy's curvature is measured.
///
///   activities  x_l (element l); Dense layers need none: these may be undefined
///   outputs     a_l
///   residual    minus the gradient of the loss
struct CurvaturePoint {
  const nn::NetworkImpl& network;
  std::vector<at::Tensor> activities;
  std::vector<nn::Kept> outputs;
  at::Tensor target;
  at::Tensor residual;
};

/// Rayleigh quotient of I + J^T H J, with H the Hessian of the loss in the prediction (I for the
/// squared error), after some power iterations from J^T residual. [B] or [R, B]; 1 where there is
/// no hidden layer.
at::Tensor power_iteration(const CurvaturePoint& point, int iterations);

}  // namespace pcxx::inference
