#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <utility>
#include <vector>

namespace pcxx::optim {

/// Options of MemberSGD: a factor on every member's rate, for schedulers.
struct MemberSGDOptions : public torch::optim::OptimizerCloneableOptions<MemberSGDOptions> {
  explicit MemberSGDOptions(double lr = 1) : lr_(lr) {}

  TORCH_ARG(double, lr) = 1;

  void serialize(torch::serialize::OutputArchive& archive) const override;
  void serialize(torch::serialize::InputArchive& archive) override;
  double get_lr() const override { return lr_; }
  void set_lr(const double lr) override { lr_ = lr; }
};

/// Plain gradient descent with a learning rate per ensemble member: a whole sweep over rates is one
/// network.
///
///   rates  [R]
///   W[r] <- W[r] - lr * rates[r] * grad[r],  lr = 1 unless a scheduler changes it
class MemberSGD : public torch::optim::Optimizer {
 public:
  /// Every parameter has R members in its first dimension. Throws c10::Error otherwise.
  MemberSGD(std::vector<at::Tensor> parameters, const at::Tensor& rates,
            const MemberSGDOptions& options = MemberSGDOptions());

  torch::Tensor step(LossClosure closure = nullptr) override;

  const at::Tensor& rates() const { return rates_; }

  void save(torch::serialize::OutputArchive& archive) const override;
  /// Throws c10::Error when the archive holds rates of another number of members.
  void load(torch::serialize::InputArchive& archive) override;

 private:
  at::Tensor rates_;
};

}  // namespace pcxx::optim
