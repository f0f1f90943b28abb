#include <ATen/ATen.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/init.h>

#include <cmath>

namespace pcxx::nn::init {
namespace {

at::Tensor draw(std::int64_t out, std::int64_t in, Scheme scheme, at::Generator& generator) {
  const auto weight = at::empty({out, in}, at::kDouble);
  const auto n_in = static_cast<double>(in);
  const auto n_out = static_cast<double>(out);
  switch (scheme) {
    case Scheme::kKaiming:
      return weight.uniform_(-1 / std::sqrt(n_in), 1 / std::sqrt(n_in), generator);
    case Scheme::kNormPreserving:
      return weight.normal_(0, 1 / std::sqrt(n_out), generator);
    case Scheme::kLecun:
      return weight.normal_(0, 1 / std::sqrt(n_in), generator);
    case Scheme::kOrthogonal:
      return with_condition_number(draw(out, in, Scheme::kKaiming, generator), 1);
    case Scheme::kUnitOrthogonal: {
      const auto parts = at::linalg_svd(weight.normal_(0, 1, generator), false);
      return at::matmul(std::get<0>(parts), std::get<2>(parts));
    }
  }
  // A check on `false` would leave GCC, when it does not optimise, without a return.
  C10_THROW_ERROR(Error, c10::str("unknown initialisation ", static_cast<int>(scheme)));
}

}  // namespace

std::string_view name(Scheme scheme) {
  return name_of(scheme);
}

void draw_member_(NetworkImpl& network, std::int64_t member, Scheme scheme,
                  at::Generator generator) {
  const at::NoGradGuard no_grad;
  const bool ensemble = network.members().has_value();
  TORCH_CHECK(member >= 0 && member < network.members().value_or(1), "no member ", member, " in ",
              network.members().value_or(1));
  for (std::size_t l = 1; l <= network.size(); ++l) {
    if (auto* own = network.own_layer(l)) {
      own->draw_(generator);
      continue;
    }
    auto& layer = network.layer(l);
    const auto weight =
        draw(layer.options.out_features(), layer.options.in_features(), scheme, generator);
    (ensemble ? layer.weight[member] : layer.weight).copy_(weight);
    if (layer.bias.defined()) {
      (ensemble ? layer.bias[member] : layer.bias).zero_();
    }
  }
}

void draw_(NetworkImpl& network, Scheme scheme, at::Generator generator) {
  for (std::int64_t member = 0; member < network.members().value_or(1); ++member) {
    draw_member_(network, member, scheme, generator);
  }
}

void kaiming_(NetworkImpl& network, at::Generator generator) {
  draw_(network, Scheme::kKaiming, std::move(generator));
}

void norm_preserving_(NetworkImpl& network, at::Generator generator) {
  draw_(network, Scheme::kNormPreserving, std::move(generator));
}

void lecun_(NetworkImpl& network, at::Generator generator) {
  draw_(network, Scheme::kLecun, std::move(generator));
}

void orthogonal_(NetworkImpl& network, at::Generator generator) {
  draw_(network, Scheme::kOrthogonal, std::move(generator));
}

void unit_orthogonal_(NetworkImpl& network, at::Generator generator) {
  draw_(network, Scheme::kUnitOrthogonal, std::move(generator));
}

}  // namespace pcxx::nn::init
