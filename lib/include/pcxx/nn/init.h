#pragma once

#include <ATen/core/Generator.h>
#include <pcxx/core/names.h>
#include <pcxx/nn/network.h>

#include <string_view>

/// Weight initialisations (appendix C.1). All draw on the CPU in float64, then cast and move;
/// biases become 0. Members of an ensemble are drawn one after the other.
namespace pcxx::nn::init {

/// One initialisation each; the functions below say which.
enum class Scheme { kKaiming, kNormPreserving, kLecun, kOrthogonal, kUnitOrthogonal };

/// "kaiming", "norm_preserving", "lecun", "orthogonal", "unit_orthogonal".
std::string_view name(Scheme scheme);

/// U(-1/sqrt(n_in), 1/sqrt(n_in)): PyTorch's default for linear layers.
void kaiming_(NetworkImpl& network, at::Generator generator);
/// N(0, 1/n_out): keeps the norm of activities in expectation.
void norm_preserving_(NetworkImpl& network, at::Generator generator);
/// N(0, 1/n_in).
void lecun_(NetworkImpl& network, at::Generator generator);
/// The paper's orthogonal: Kaiming uniform with all singular values made equal at the same
/// Frobenius norm (sigma = 1/sqrt(3) in expectation for square layers).
void orthogonal_(NetworkImpl& network, at::Generator generator);
/// All singular values 1.
void unit_orthogonal_(NetworkImpl& network, at::Generator generator);

/// By name.
void draw_(NetworkImpl& network, Scheme scheme, at::Generator generator);

/// Member r of an ensemble (or the single network, with r = 0) drawn from a generator of its own.
void draw_member_(NetworkImpl& network, std::int64_t member, Scheme scheme,
                  at::Generator generator);

}  // namespace pcxx::nn::init

template <>
inline constexpr auto pcxx::kNames<pcxx::nn::init::Scheme> =
    std::to_array<pcxx::Named<pcxx::nn::init::Scheme>>(
        {{pcxx::nn::init::Scheme::kKaiming, "kaiming"},
         {pcxx::nn::init::Scheme::kNormPreserving, "norm_preserving"},
         {pcxx::nn::init::Scheme::kOrthogonal, "orthogonal"},
         {pcxx::nn::init::Scheme::kUnitOrthogonal, "unit_orthogonal"},
         {pcxx::nn::init::Scheme::kLecun, "lecun"}});
