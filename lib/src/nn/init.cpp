#include <ATen/ATen.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/init.h>

#include <cmath>

namespace pcxx::nn::init {
namespace {

at::Tensor unset(std::int64_t n_out, std::int64_t n_in) {
  return at::empty({n_out, n_in}, at::kDouble);
}

double one_over_root(std::int64_t n) {
  return 1 / std::sqrt(static_cast<double>(n));
}

// copy_ would broadcast.
void check_shape(const at::Tensor& weight, std::int64_t n_out, std::int64_t n_in) {
  TORCH_CHECK(weight.sizes() == at::IntArrayRef({n_out, n_in}), "a weight of ", weight.sizes(),
              " was drawn for one of [", n_out, ", ", n_in, "]");
}

}  // namespace

at::Tensor kaiming(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator) {
  return unset(n_out, n_in).uniform_(-one_over_root(n_in), one_over_root(n_in), generator);
}

at::Tensor norm_preserving(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator) {
  return unset(n_out, n_in).normal_(0, one_over_root(n_out), generator);
}

at::Tensor lecun(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator) {
  return unset(n_out, n_in).normal_(0, one_over_root(n_in), generator);
}

at::Tensor normal(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator) {
  return unset(n_out, n_in).normal_(0, 1, generator);
}

at::Tensor orthogonal(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator) {
  return with_condition_number(kaiming(n_out, n_in, generator), 1);
}

at::Tensor unit_orthogonal(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator) {
  const auto parts = at::linalg_svd(normal(n_out, n_in, generator), false);
  return at::matmul(std::get<0>(parts), std::get<2>(parts));
}

void draw_member_(NetworkImpl& network, std::int64_t member, const DrawWeight& draw,
                  const at::Generator& generator) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(member >= 0 && member < network.members().value_or(1), "no member ", member, " in ",
              network.members().value_or(1));
  const auto weight = [&](std::int64_t out, std::int64_t in, const at::Generator&) {
    auto drawn = draw(out, in, generator);
    check_shape(drawn, out, in);
    return drawn;
  };
  for (std::size_t l = 1; l <= network.size(); ++l) {
    network.layer(l).draw_member_(member, weight, generator);
  }
}

void draw_(NetworkImpl& network, const DrawWeight& draw, const at::Generator& generator) {
  for (std::int64_t member = 0; member < network.members().value_or(1); ++member) {
    draw_member_(network, member, draw, generator);
  }
}

void kaiming_(NetworkImpl& network, const at::Generator& generator) {
  draw_(network, kaiming, generator);
}

void norm_preserving_(NetworkImpl& network, const at::Generator& generator) {
  draw_(network, norm_preserving, generator);
}

void lecun_(NetworkImpl& network, const at::Generator& generator) {
  draw_(network, lecun, generator);
}

void normal_(NetworkImpl& network, const at::Generator& generator) {
  draw_(network, normal, generator);
}

void orthogonal_(NetworkImpl& network, const at::Generator& generator) {
  draw_(network, orthogonal, generator);
}

void unit_orthogonal_(NetworkImpl& network, const at::Generator& generator) {
  draw_(network, unit_orthogonal, generator);
}

}  // namespace pcxx::nn::init
