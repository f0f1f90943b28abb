#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/core/residency.h>
#include <pcxx/optim/recursive_projection.h>

#include "optim/members.h"
#include "optim/parts.h"

namespace pcxx::optim {
namespace {

at::Tensor initial_memory(const at::Tensor& xhat, double delta) {
  const auto n = xhat.size(-1);
  auto q = at::eye(n, xhat.options()).mul_(delta);
  return xhat.dim() == 3 ? q.repeat({xhat.size(0), 1, 1}) : q;
}

double bound(const at::Tensor& q, double delta) {
  return std::max(delta, q.scalar_type() == at::kDouble ? 1e6 : 1e3);
}

// Q <- Q / lambda where its mean eigenvalue allows, per member.
void forget_(at::Tensor& q, double lambda, double limit) {
  if (lambda == 1) return;
  const auto mean = q.diagonal(0, -2, -1).mean(-1);
  // In q's precision: two plain numbers would give a tensor of the default dtype, float32.
  const auto scale = at::full_like(mean, 1 / lambda).masked_fill_(mean.gt(limit * lambda), 1);
  q.mul_(scale.unsqueeze(-1).unsqueeze(-1));
}

// K^T = (lambda I + Xhat Q Xhat^T)^-1 Xhat Q [.., B, n], and Q advanced by it.
at::Tensor advance(at::Tensor& q, const at::Tensor& xhat, double lambda, double limit) {
  const auto p = at::matmul(xhat, q);
  if (xhat.size(-2) == 1) {
    auto gain = p / (lambda + at::matmul(p, xhat.mT()));
    // The product of a vector with itself: symmetric to the last bit.
    const auto root = p / (lambda + at::matmul(p, xhat.mT())).sqrt();
    if (q.dim() == 2) {
      q.addmm_(root.mT(), root, 1, -1);
    } else {
      q.baddbmm_(root.mT(), root, 1, -1);
    }
    forget_(q, lambda, limit);
    return gain;
  }
  auto gram = at::matmul(p, xhat.mT());
  gram.diagonal(0, -2, -1).add_(lambda);
  const auto [factor, info] = at::linalg_cholesky_ex(gram);
  const auto half =
      mark_broken(at::linalg_solve_triangular(factor, p, /*upper=*/false), info.ne(0));
  q.sub_(at::matmul(half.mT(), half));
  q.copy_((q + q.mT()).mul_(0.5));
  forget_(q, lambda, limit);
  return at::linalg_solve_triangular(factor.mT(), half, /*upper=*/true);
}

constexpr const char* kLayers = "layers";

std::string key(std::size_t layer) {
  return fmt::format("memory{}", layer);
}

}  // namespace

RecursiveProjection::RecursiveProjection(RecursiveProjectionOptions options) : options_(options) {
  TORCH_CHECK(options.forgetting > 0 && options.forgetting <= 1,
              "a forgetting factor lies in (0, 1], not ", options.forgetting);
  TORCH_CHECK(options.prior_scale > 0, "prior_scale must be positive, not ", options.prior_scale);
}

std::vector<Direction> RecursiveProjection::directions(
    const std::vector<learning::LayerFactors>& layers) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(memory_.empty() || memory_.size() == layers.size(), "the memory has ", memory_.size(),
              " layers, the network ", layers.size());
  memory_.resize(layers.size());
  std::vector<Direction> result;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& layer = layers[i];
    const auto xhat = with_bias_unit(layer.feedforward, layer).contiguous();
    auto& q = memory_[i];
    if (!q.defined()) q = initial_memory(xhat, options_.prior_scale);
    TORCH_CHECK(q.size(-1) == xhat.size(-1) && q.dim() == xhat.dim(), "the memory of layer ", i + 1,
                " is ", q.sizes(), ", but its activities are ", xhat.sizes());
    check_residency(q, xhat.device(), "the memory of layer ", i + 1);
    const auto gain = advance(q, xhat, options_.forgetting, bound(q, options_.prior_scale));
    result.push_back(split_bias_unit(at::matmul(layer.error.mT(), gain), layer));
  }
  return result;
}

double memory_condition(const std::vector<at::Tensor>& memory) {
  const at::NoGradGuard no_grad;
  double worst = 1;
  for (const auto& q : memory) {
    if (q.numel() == 0) continue;
    const auto broken = broken_members({q});
    const auto eigenvalues = at::linalg_eigvalsh(without_members(q, broken).to(at::kDouble));
    const auto condition = eigenvalues.select(-1, -1) / eigenvalues.select(-1, 0).clamp_min(0);
    const auto largest =
        condition.masked_fill(condition.isnan(), std::numeric_limits<double>::infinity()).max();
    worst = std::max(worst, largest.item<double>());
  }
  return worst;
}

std::map<std::string, double> RecursiveProjection::diagnostics() const {
  return {{"memory_condition", memory_condition()}};
}

State RecursiveProjection::state() const {
  State state{{kLayers, as_count(static_cast<std::int64_t>(memory_.size()))}};
  for (std::size_t i = 0; i < memory_.size(); ++i) state[key(i)] = memory_[i];
  return state;
}

void RecursiveProjection::set_state(const State& state) {
  const auto layers = static_cast<std::size_t>(count_of(state, kLayers));
  TORCH_CHECK(memory_.empty() || layers == memory_.size(), "the state has ", layers,
              " layers, not ", memory_.size());
  std::vector<at::Tensor> memory;
  for (std::size_t i = 0; i < layers; ++i) {
    const auto& found = entry(state, key(i));
    TORCH_CHECK(found.dim() >= 2 && found.size(-1) == found.size(-2), "the memory of layer ", i + 1,
                " is ", found.sizes());
    memory.push_back(entry_like(state, key(i), memory_.empty() ? found : memory_[i]));
  }
  memory_ = std::move(memory);
}

RescalingPart recursive_projection_part() {
  const auto keys =
      config::OptionKeys<RecursiveProjectionOptions>()
          .add(&RecursiveProjectionOptions::forgetting,
               {.name = "forgetting",
                .doc = "recursive_projection: a sample's weight falls by this factor with every "
                       "update",
                .minimum = 0,
                .maximum = 1,
                .open_minimum = true})
          .add(&RecursiveProjectionOptions::prior_scale,
               {.name = "prior_scale",
                .doc = "recursive_projection: its memory starts at so much times the identity",
                .minimum = 0,
                .open_minimum = true,
                .old_name = "delta"});
  RescalingPart part;
  part.name = "recursive_projection";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model) {
    return std::make_unique<RecursiveProjection>(keys.read(model));
  };
  part.lanes = [keys](const config::Config& model, ensemble::Problem& problem) {
    const auto options = keys.read(model);
    problem.rescaling = ensemble::Rescaling::kRecursiveProjection;
    problem.forgetting = options.forgetting;
    problem.delta = options.prior_scale;
  };
  return part;
}

}  // namespace pcxx::optim
