#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/core/names.h>
#include <pcxx/learning/rule.h>

#include <cstdint>
#include <vector>

namespace pcxx::learning {

/// How fast the uncertainty of KalmanPredictiveCoding narrows.
///
///   kCertainty  by what each sample makes certain of the layer, c m / n
///   kConstancy  between that, where the slopes f' change from sample to sample, and recursive
///               least squares, 1 / (R + s), where they do not: what one sample tells of a linear
///               network holds for all others
enum class Narrowing { kCertainty, kConstancy };

/// Of KalmanPredictiveCoding.
struct KalmanOptions {
  /// The fraction of the mean squared residual that counts as noise of the targets,
  /// R = noise_fraction mean(r^2); 0: R is found from what the steps achieve. What is less than
  /// kLeastRho (core/precision.h) counts as that: the covariances could not be told from singular
  /// ones.
  double noise_fraction = 0;
  Narrowing narrowing = Narrowing::kCertainty;
  /// Of the weights before the first batch, times a layer's inputs: Q starts at prior_variance / n.
  /// 0 is 1 for the squared error, and for losses of logits, which are farther from 0, 64 in Dense
  /// layers and 16 in convolutions.
  double prior_variance = 0;
};

struct KalmanBatch;

/// What the last batch taught, and what it was expected to change. Means over the batch have the
/// shape [] or [R].
///
///   leverages    of layer l: mean of s_l = xhat^T Q xhat, the variance of W xhat that is left
///   certainties  of layer l: mean of c_l s_l, the fraction of that variance which the batch took
///                away
///   noise        R
///   scale        what all steps were shortened by: 1 where the samples' do not overshoot together
///   change       predicted linear change d of the predictions, [B, n_L] or [R, B, n_L]; of the
///                samples that this process has, where several share the batch
///   linearity    <d, a> / <d, d>, a the actual change: 1 where the network is as linear as the
///                rule takes it to be
struct KalmanReport {
  std::vector<at::Tensor> leverages;
  std::vector<at::Tensor> certainties;
  at::Tensor noise;
  at::Tensor scale;
  at::Tensor change;
  at::Tensor linearity;
};

/// The numbers of a report by name, [] or [R]: `kpc_noise`, `kpc_scale`, `kpc_linearity`, and of
/// each layer l `kpc_leverage<l>` and `kpc_certainty<l>`. Empty before the first batch.
std::map<std::string, at::Tensor> measurements(const KalmanReport& report);

/// Kalman predictive coding (rule `kpc`; not in the paper). Predictive coding in which each
/// error is weighted by how uncertain the weights are that made it, so that the equilibrium says
/// how much of the residual each layer should learn; what was learnt narrows the uncertainty. There
/// is no learning rate: steps are taken as they are,
///
///   KalmanPredictiveCoding rule;
///   optim::Rescaled optimizer(torch::optim::SGD(net->parameters(), 1.0),
///                             std::make_unique<optim::Plain>());
///   for (const auto& batch : batches) optimizer.step(rule.factors(*net, batch));
///
/// The covariance of each row of W_l is Q_l [n_{l-1}, n_{l-1}], which starts at I / n_{l-1}. With
/// leverage s_l = xhat_{l-1}^T Q_l xhat_{l-1}, J_l = d yhat / d z_l at the feed-forward pass, and R
/// the noise of the targets:
///
///   S = R I + sum_l s_l J_l J_l^T,  v = S^-1 r,  g_l = J_l^T v,  c_l = tr(J_l^T S^-1 J_l) / m_l
///   one sample:  W_l += g_l (Q xhat)^T,  Q -= (c_l m_l / n_l) (Q xhat) (Q xhat)^T
///   a batch:     M = (Xhat Q Xhat^T + diag(1/c - s))^-1 Xhat Q,
///                W_l += (g/c)^T M,  Q -= (m_l / n_l) (Xhat Q)^T M
///
/// with m_l = min(n_l, .., n_L). The steps of a batch are then shortened together by
/// clip(<r, d> / <d, d>, 0, 1), d the linear change that they predict. R is a running mean of
/// mean(r (r - d)) + mean((a - d)^2), a the actual change: what a consistent filter leaves of the
/// residual (Mehra 1970), and the error of the linearisation; or with an option rho times one of
/// mean(r^2). A bias is one more presynaptic unit, fixed at 1. It is an extended Kalman filter,
/// decoupled by layers, whose gain is the equilibrium of predictive coding with the precisions
/// 1/s_l and 1/R, linearised.
///
/// With Narrowing::kConstancy, Q narrows otherwise, and W_l as before. Let o be the product over
/// the layers of ||E f'||^2 / E ||f'||^2, to the power 8, with running means E over samples: 1 in a
/// linear network. Then, with N = 1/c - s of each sample,
///
///   Q -= (m_l / n_l)^(1 - o) (Xhat Q)^T (Xhat Q Xhat^T + diag(N^(1 - o) R^o))^-1 Xhat Q
///
/// which is the rule above for o = 0 and recursive least squares of each layer for o = 1.
///
/// A convolution's rows of weights meet a patch of the image at each of P locations, n = C_in k^2.
/// With G_c = sum_p J_c,p xhat_p^T, [n_L, n], the gradient of all outputs in the weights of channel
/// c, it is
///
///   S = .. + sum_c G_c Q G_c^T,   A = sum_c G_c^T S^-1 G_c / m_l
///   one sample:  W_c += v^T G_c Q,  Q -= (m_l / n_l) Q A Q
///   a batch:     with Lambda = A (I - Q A)^-1 of each sample and Q' = (Q^-1 + sum Lambda)^-1,
///                W_c += sum v^T G_c (I - Q A)^-1 Q',  Q -= (m_l / n_l) (Q - Q')
///
/// which are the formulas above where P is 1. A loss of logits says itself how noisy its targets
/// are: a bound H of its curvature (Boehning 1992: 1/2 (I - 11^T / C) of cross-entropy) takes the
/// place of I / R, v = (I + H Gamma)^-1 r and S^-1 = (Gamma + H^-1)^-1 for Gamma = S - R I, and
/// steps are shortened by clip(<r, d> / <d, H d>, 0, 1).
///
/// Works in networks of layers of at most one weight each, and in ensembles of Dense ones. Costs
/// O(n^2) a sample and layer and, where the output is wider than the layer below, a solve of that
/// layer's width a sample; with other layers or losses a way back for each output and, in a batch,
/// a solve of n a sample and convolution. Where several processes share a batch, each settles its
/// slice; of a layer they exchange Xhat Q, g, c, s and the rows of Xhat Q Xhat^T, of a convolution
/// sums over samples, and all make the same step. Throws c10::Error for other layers, for losses
/// without a bound, and for a compressed batch, which has no samples.
class KalmanPredictiveCoding final : public LearningRule {
 public:
  explicit KalmanPredictiveCoding(KalmanOptions options = {});

  /// The updates of all layers, in `Step::own`: rescalings leave them alone.
  Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override;
  std::string_view name() const override { return "kpc"; }

  Sharing sharing() const override { return Sharing::kTogether; }
  Step shared_factors(const nn::NetworkImpl& network, const data::Batch& slice,
                      Peers& peers) override;

  std::map<std::string, at::Tensor> measurements() const override {
    return learning::measurements(report_);
  }
  /// These, means over members.
  std::map<std::string, double> diagnostics() const override;

  State state() const override;
  void set_state(const State& state) override;

  /// Q of the layers with a weight, in their order: [n, n] or [R, n, n]; n counts the bias unit.
  /// Empty before the first batch.
  const std::vector<at::Tensor>& covariances() const { return covariances_; }
  /// Of the last batch; undefined tensors before the first.
  const KalmanReport& report() const { return report_; }

 private:
  void start(const nn::NetworkImpl& network);
  double prior_variance(const nn::Loss& loss, const at::Tensor& weight) const;
  at::Tensor curvature_of(const nn::NetworkImpl& network, const at::Tensor& residual) const;
  /// The steps of the layers with a weight, [n_l, n]; the covariances narrow.
  std::vector<at::Tensor> learn_dense(const KalmanBatch& batch);
  std::vector<at::Tensor> learn_layers(const KalmanBatch& batch);
  void compare(const KalmanBatch& batch, const at::Tensor& actual);
  /// What the newest batch counts in a running mean.
  double newest() const;
  void observe(const at::Tensor& mean_square);
  void observe_slopes(std::vector<at::Tensor> means);
  void learn_noise(const at::Tensor& found);

  KalmanOptions options_;
  std::vector<at::Tensor> covariances_;
  at::Tensor mean_square_;  // of the residual, running: [] or [R]
  at::Tensor noise_;        // R of the next batch
  // Of each layer that is not linear, running: f' and, last, ||f'||^2; [n_l + 1] or [R, n_l + 1].
  std::vector<at::Tensor> slopes_;
  std::int64_t batches_ = 0;
  KalmanReport report_;
};

}  // namespace pcxx::learning

template <>
inline constexpr auto pcxx::kNames<pcxx::learning::Narrowing> =
    std::to_array<pcxx::Named<pcxx::learning::Narrowing>>(
        {{pcxx::learning::Narrowing::kCertainty, "certainty"},
         {pcxx::learning::Narrowing::kConstancy, "constancy"}});
