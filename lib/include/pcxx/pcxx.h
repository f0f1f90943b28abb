#pragma once

/// All that networks, rules, data and metrics need, for programs; a library includes what it uses.
/// The command-line programs (pcxx/train) and the pieces that new parts are built of
/// (linalg/products.h, nn/fused.h, core/files.h, parallel/exchange.h, ...) have headers of their
/// own.

#include <pcxx/core/error.h>
#include <pcxx/core/random.h>
#include <pcxx/core/residency.h>
#include <pcxx/data/batch.h>
#include <pcxx/data/drawn_digits.h>
#include <pcxx/data/idx.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/ensemble/ensemble.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/own_layers.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/incremental.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/accuracy.h>
#include <pcxx/metrics/dead_units.h>
#include <pcxx/metrics/layer_diagnostics.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/init.h>
#include <pcxx/nn/network.h>
#include <pcxx/optim/alpha.h>
#include <pcxx/optim/decorrelation.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/recursive_projection.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/parallel/launch.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/version.h>
