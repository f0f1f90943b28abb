#include <ATen/ATen.h>
#include <pcxx/core/residency.h>
#include <pcxx/optim/member_sgd.h>
#include <torch/optim/serialize.h>

namespace pcxx::optim {

void MemberSGDOptions::serialize(torch::serialize::OutputArchive& archive) const {
  _TORCH_OPTIM_SERIALIZE_TORCH_ARG(lr);
}

void MemberSGDOptions::serialize(torch::serialize::InputArchive& archive) {
  _TORCH_OPTIM_DESERIALIZE_TORCH_ARG(double, lr);
}

MemberSGD::MemberSGD(std::vector<at::Tensor> parameters, const at::Tensor& rates,
                     const MemberSGDOptions& options)
    : Optimizer({torch::optim::OptimizerParamGroup(std::move(parameters))},
                std::make_unique<MemberSGDOptions>(options)) {
  const auto& all = param_groups().front().params();
  TORCH_CHECK(rates.dim() == 1, "rates are one number a member, [R], not ", rates.sizes());
  for (const auto& parameter : all) {
    TORCH_CHECK(parameter.dim() >= 1 && parameter.size(0) == rates.size(0), "a parameter of shape ",
                parameter.sizes(), " does not have the ", rates.size(0), " members of the rates");
  }
  rates_ = all.empty() ? rates : rates.to(all.front().options().requires_grad(false));
}

torch::Tensor MemberSGD::step(LossClosure closure) {
  torch::Tensor loss;
  if (closure) {
    const at::AutoGradMode enabled(true);
    loss = closure();
  }
  const at::NoGradGuard no_grad;
  for (auto& group : param_groups()) {
    const double lr = group.options().get_lr();
    for (auto& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      check_residency(rates_, parameter.device(), "the vector of rates");
      std::vector<std::int64_t> shape(static_cast<std::size_t>(parameter.dim()), 1);
      shape.front() = rates_.size(0);
      parameter.addcmul_(parameter.grad(), rates_.view(shape), -lr);
    }
  }
  return loss;
}

void MemberSGD::save(torch::serialize::OutputArchive& archive) const {
  archive.write("rates", rates_);
  archive.write("lr", at::full({}, param_groups().front().options().get_lr(), at::kDouble));
}

void MemberSGD::load(torch::serialize::InputArchive& archive) {
  at::Tensor rates;
  at::Tensor lr;
  archive.read("rates", rates);
  archive.read("lr", lr);
  TORCH_CHECK(rates.sizes() == rates_.sizes(), "the archive holds rates of ", rates.sizes(),
              " members, not ", rates_.sizes());
  rates_ = rates.to(rates_.options());
  for (auto& group : param_groups()) group.options().set_lr(lr.item<double>());
}

}  // namespace pcxx::optim
