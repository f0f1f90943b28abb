#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/data/batch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

/// Many small linear networks at once on the CPU: one SIMD lane is one network. The same updates as
/// learning::* and optim::* make of an ensemble, at the speed of the processor's arithmetic.
namespace pcxx::ensemble {

/// The learning rule of all members.
enum class Rule { kBackpropagation, kPredictiveCoding };

/// Those of optim, by the same names.
enum class Rescaling { kNone, kAlpha, kDecorrelation, kProjection, kRecursiveProjection };

/// What is recorded at every step.
enum class Error {
  kMap,       ///< mean over entries of (W_data - M_L ... M_1)^2
  kTraining,  ///< mean over entries of (y - yhat)^2 on the batch of that step, before its update
};

/// What all members of an ensemble have in common. Networks have no bias and learn by plain
/// gradient descent; the equilibrium of predictive coding is the closed form.
struct Problem {
  std::vector<std::int64_t> widths = {};  ///< n_0..n_L
  bool residual = false;                  ///< every layer is x + W x, all widths equal
  Rule rule = Rule::kPredictiveCoding;
  Rescaling rescaling = Rescaling::kNone;
  bool presynaptic_denominator = false;  ///< alpha: u.u in place of u.xhat
  std::optional<double> floor = {};      ///< alpha: c_l >= floor * c_1
  std::string spectrum = "symmetric";    ///< decorrelation; no other is done here
  bool as_printed = false;               ///< decorrelation: (E[u xhat^T])^-1
  double forgetting = 0.95;              ///< recursive projection
  double delta = 1;                      ///< recursive projection
  Error error = Error::kMap;
  bool alignment = false;  ///< record the target alignment of every update as well
};

/// What each of the R members has of its own. The dtype of the weights, float32 or float64, is that
/// of all arithmetic.
struct Members {
  std::vector<at::Tensor> weights;  ///< of layers 1..L (element l - 1), [R, n_l, n_{l-1}]
  at::Tensor rates;                 ///< learning rates, [R]
  at::Tensor regularisation = {};   ///< a of the spectral regulariser, [R]; may be undefined
  at::Tensor streams;               ///< which stream of data a member learns from, [R], int64
};

/// S streams of data, one a seed.
struct Streams {
  /// W_data of every stream, [S, n_L, n_0]; for Error::kMap.
  at::Tensor maps = {};
  /// The batch of step t of all streams, [S, B, n], not compressed: run() replaces it by the same
  /// second moments in fewer columns. Called once for t = 0, 1, ..., steps - 1, in order, by the
  /// thread that called run(), and for t = steps too with Error::kTraining.
  std::function<data::Batch(std::int64_t step)> batch;
};

/// What was measured. A member whose error becomes non-finite, or more than 1e6 times its first
/// one, leaves: its error at that step is recorded, all later ones are NaN.
///
///   errors             [steps + 1, R], float64; row 0 is the networks as given
///   alignments         [steps + 1, R], row t of the update that follows, the last NaN; where asked
///   weights            of layers 1..L, [R, n_l, n_{l-1}]: the last ones, or those a member left
///                      with
///   memory             Q of layers 1..L of the recursive projection, [R, n, n], n = n_{l-1}: the
///                      last ones; of members that left, any number. Empty with other rescalings.
///   left_at            [R], int64: the step at which a member left, -1 for one that did not
///   zero_denominators  [R], int64: how often alpha's c_l was 0, which leaves a layer's update at 0
///   finished           [R], bool: false where run() was stopped before the member's last step
struct Result {
  at::Tensor errors;
  at::Tensor alignments;
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> memory;
  at::Tensor left_at;
  at::Tensor zero_denominators;
  at::Tensor finished;
};

/// Where a run stands, told after every block of members.
struct Progress {
  std::int64_t done = 0;               ///< training steps of single members so far
  std::int64_t total = 0;              ///< and in all
  std::vector<std::int64_t> finished;  ///< members that have just done their last step
};

/// How a run uses the machine; results do not depend on it.
struct RunOptions {
  int threads = 0;         ///< worker threads; 0 takes the processors at hand
  std::int64_t block = 0;  ///< vectors of members a worker trains side by side; 0 fits them to the
                           ///< second-level cache
  /// Data held at a time: where all steps need more, members pause while the next steps are drawn.
  std::int64_t data_bytes = std::int64_t{1} << 29;
  /// Called by worker threads, one at a time; the result's rows of finished members are complete.
  /// False stops the run after the blocks in progress.
  std::function<bool(const Progress&, const Result&)> on_progress = nullptr;
};

/// Why such members cannot be trained here and stay with the tensors of nn, learning and optim:
/// a sentence, or nothing when they can be. Among well-formed problems these are pseudo-inverses
/// (regularisation 0), spectra other than "symmetric", and tensors of another device or dtype.
std::optional<std::string> unsupported(const Problem& problem, const Members& members);

/// Trains every member for `steps` updates.
///
///   Problem problem{.widths = {20, 20, 20}};
///   Members members{.weights = {w1, w2}, .rates = rates, .streams = seeds};
///   auto result = run(problem, members, {.maps = maps, .batch = next}, 500);
///   auto final = result.errors[500];   // [R]
///
/// Results are the same to the last bit for any number of threads, any block, and any place of a
/// member among the others; instruction sets differ by rounding. Throws UserError with the sentence
/// of unsupported(), c10::Error on shapes that do not fit.
Result run(const Problem& problem, const Members& members, const Streams& streams,
           std::int64_t steps, const RunOptions& options = {});

}  // namespace pcxx::ensemble
