#pragma once

#include <ATen/core/Generator.h>
#include <pcxx/nn/network.h>

#include <cstdint>

/// Weight initialisations (appendix C.1). All draw on the CPU in float64, then cast and move;
/// biases become 0. Members of an ensemble are drawn one after the other.
///
///   init::kaiming_(*network, make_generator(seed, Purpose::kWeights));
///   init::draw_(*network, init::lecun, make_generator(seed, Purpose::kWeights));
namespace pcxx::nn::init {

/// U(-1/sqrt(n_in), 1/sqrt(n_in)): PyTorch's default for linear layers.
at::Tensor kaiming(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator);
/// N(0, 1/n_out): keeps the norm of activities in expectation.
at::Tensor norm_preserving(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator);
/// N(0, 1/n_in).
at::Tensor lecun(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator);
/// N(0, 1), for networks whose layers scale what their weights give (muPC).
at::Tensor normal(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator);
/// The paper's orthogonal: Kaiming uniform with all singular values made equal at the same
/// Frobenius norm (sigma = 1/sqrt(3) in expectation for square layers).
at::Tensor orthogonal(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator);
/// All singular values 1.
at::Tensor unit_orthogonal(std::int64_t n_out, std::int64_t n_in, const at::Generator& generator);

/// Draws every Dense layer with `draw`; layers of another kind draw themselves (`Layer::draw_`).
/// Throws c10::Error where a weight of another shape is drawn.
void draw_(NetworkImpl& network, const DrawWeight& draw, const at::Generator& generator);

/// Member r of an ensemble (or the single network, with r = 0) drawn from a generator of its own.
void draw_member_(NetworkImpl& network, std::int64_t member, const DrawWeight& draw,
                  const at::Generator& generator);

void kaiming_(NetworkImpl& network, const at::Generator& generator);
void norm_preserving_(NetworkImpl& network, const at::Generator& generator);
void lecun_(NetworkImpl& network, const at::Generator& generator);
void normal_(NetworkImpl& network, const at::Generator& generator);
void orthogonal_(NetworkImpl& network, const at::Generator& generator);
void unit_orthogonal_(NetworkImpl& network, const at::Generator& generator);

}  // namespace pcxx::nn::init
