#pragma once

#include <pcxx/data/batch.h>
#include <pcxx/metrics/prediction_change.h>

#include <optional>

namespace pcxx::metrics {

/// Alignment of residuals with changes of the predictions. All in float64.
///
///   per_sample  cos(r_b, d_b), [B] or [R, B]; NaN for a sample that does not count
///   mean        over the samples that count, [] or [R]; NaN when there are none
///   batch       <R, D>_F / (||R||_F ||D||_F) over all samples, [] or [R]; NaN when R or D is zero
///               or not finite
///   left_out    number of samples without a direction (r_b = 0 or d_b = 0), [] or [R], int64
///   non_finite  number of samples with an infinite or NaN residual or change, [] or [R], int64
struct TargetAlignment {
  at::Tensor per_sample;
  at::Tensor mean;
  at::Tensor batch;
  at::Tensor left_out;
  at::Tensor non_finite;
};

/// Target alignment (eq. 5), r^T d / (||r|| ||d||), of residuals r = y - yhat and changes d, both
/// [B, n_L] or [R, B, n_L]. The cosine of a sample depends neither on its scale, however small or
/// large, nor on the other samples.
TargetAlignment target_alignment(const at::Tensor& residual, const at::Tensor& change);

/// Of an update that the network has not made yet, on a batch that may be held out: with the
/// first-order change, or with a finite one where a rate is given. For training data it is measured
/// with the batch that made the update.
///
///   const auto step = rule.factors(*network, batch);
///   const auto update = metrics::make_update(rescaling.directions(step.layers));
///   const auto alignment = metrics::target_alignment(*network, batch, update).mean;
TargetAlignment target_alignment(const nn::NetworkImpl& network, const data::Batch& batch,
                                 const Update& update, std::optional<double> rate = std::nullopt);

}  // namespace pcxx::metrics
