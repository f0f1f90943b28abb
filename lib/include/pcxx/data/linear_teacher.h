#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/TensorOptions.h>
#include <pcxx/core/names.h>
#include <pcxx/data/batch.h>
#include <torch/arg.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace pcxx::data {

/// Where the targets of a regression task come from.
enum class Targets {
  kTeacher,      ///< y = W_data x + noise
  kReluTeacher,  ///< y = W_2 relu(W_1 x) + noise
  kIndependent,  ///< y ~ N(0, I), unrelated to x
};

/// "teacher", "relu_teacher", "independent".
std::string_view name(Targets targets);

/// Options of a LinearTeacher: `LinearTeacherOptions(20, 20).noise(0.1)`.
struct LinearTeacherOptions {
  LinearTeacherOptions(std::int64_t inputs, std::int64_t outputs)
      : inputs_(inputs), outputs_(outputs) {}

  /// n_0 and n_L.
  TORCH_ARG(std::int64_t, inputs);
  TORCH_ARG(std::int64_t, outputs);
  TORCH_ARG(Targets, targets) = Targets::kTeacher;
  /// Standard deviation of the noise on a teacher's targets; independent targets have none.
  TORCH_ARG(double, noise) = 0;
  /// Rank of W_data, at most min(n_0, n_L); 0 for the full one.
  TORCH_ARG(std::int64_t, rank) = 0;
};

/// The paper's regression task (section 3.1): x ~ N(0, I) and y = W_data x + noise with
/// W_data ~ N(0, 1/n_0), of full rank unless asked otherwise, one map a seed. Of rank k it is a
/// product, [n_L, k] ~ N(0, 1/k) times [k, n_0] ~ N(0, 1/n_0): entries of the same variance.
///
///   LinearTeacher teacher(LinearTeacherOptions(20, 20), seed, torch::kFloat64);
///   Batch batch = teacher.next(64);      // fresh samples at every call
///   auto error = (teacher.map() - network_map).square().mean();
///
/// The ReLU teacher asks for what no linear network can learn: W_1 [5 n_0, n_0] ~ N(0, 2/n_0) and
/// W_2 [n_L, 5 n_0] ~ N(0, 1/(5 n_0)), so that targets have a mean square of 1.
///
/// Maps, inputs, targets and noise are drawn from streams of their own, so that batch t of a seed
/// is the same for every network and learning rule, and has the same inputs for every kind of
/// targets. All is computed on the CPU in float64, then cast and moved. Batch t also depends on the
/// sizes of the batches before it. Copies would share the streams, so a teacher can only be moved.
class LinearTeacher {
 public:
  LinearTeacher(LinearTeacherOptions options, std::uint64_t seed,
                at::TensorOptions tensor_options = at::kDouble);
  LinearTeacher(LinearTeacher&&) = default;
  LinearTeacher& operator=(LinearTeacher&&) = default;

  /// The next batch: input [B, n_0], target [B, n_L].
  Batch next(std::int64_t batch_size);

  /// Samples that no batch has, from a stream of their own: the same at every call. The teacher's
  /// targets are without noise.
  Batch held_out(std::int64_t count) const;

  /// The targets of inputs [B, n_0] without noise, [B, n_L], in float64 on the CPU. Throws
  /// c10::Error for independent targets, which are no function of the inputs.
  at::Tensor targets_of(const at::Tensor& input) const;

  /// W_data [n_L, n_0]. With other targets it is drawn all the same and plays no part.
  const at::Tensor& map() const { return map_; }
  const LinearTeacherOptions& options() const { return options_; }

  /// Where the streams stand, as a tensor for a checkpoint, and the way back.
  at::Tensor state() const;
  void set_state(const at::Tensor& state);

 private:
  LinearTeacherOptions options_;
  std::uint64_t seed_;
  at::TensorOptions tensor_options_;
  at::Tensor exact_map_;
  at::Tensor map_;
  at::Tensor hidden_;  // W_1 and W_2 of the ReLU teacher
  at::Tensor readout_;
  at::Generator inputs_;
  at::Generator targets_;
  at::Generator noise_;
};

/// Teachers of seeds first_seed .. first_seed + count - 1.
std::vector<LinearTeacher> linear_teachers(const LinearTeacherOptions& options,
                                           std::uint64_t first_seed, std::int64_t count,
                                           at::TensorOptions tensor_options = at::kDouble);

/// The next batch of each of S teachers, as one: input [S, B, n_0], target [S, B, n_L].
Batch next_batch(std::vector<LinearTeacher>& teachers, std::int64_t batch_size);

/// The maps of S teachers, [S, n_L, n_0].
at::Tensor stack_maps(const std::vector<LinearTeacher>& teachers);

}  // namespace pcxx::data

template <>
inline constexpr auto pcxx::kNames<pcxx::data::Targets> =
    std::to_array<pcxx::Named<pcxx::data::Targets>>(
        {{pcxx::data::Targets::kTeacher, "teacher"},
         {pcxx::data::Targets::kReluTeacher, "relu_teacher"},
         {pcxx::data::Targets::kIndependent, "independent"}});
