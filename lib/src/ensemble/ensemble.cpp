#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <hwy/aligned_allocator.h>
#include <pcxx/core/error.h>
#include <pcxx/ensemble/ensemble.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <limits>
#include <mutex>
#include <numeric>
#include <span>
#include <thread>
#include <utility>

#include "ensemble/block.h"
#include "ensemble/matrix.h"

namespace pcxx::ensemble {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::int64_t depth(const Problem& problem) {
  return static_cast<std::int64_t>(problem.widths.size()) - 1;
}

std::int64_t width(const Problem& problem, std::int64_t l) {
  return problem.widths[static_cast<std::size_t>(l)];
}

bool regularised(const Problem& problem) {
  return problem.rescaling == Rescaling::kDecorrelation ||
         problem.rescaling == Rescaling::kProjection;
}

void check(const Problem& problem) {
  TORCH_CHECK(problem.widths.size() >= 2, "a network has at least an input and an output width");
  for (const auto n : problem.widths) {
    TORCH_CHECK(n >= 1, "a layer cannot have ", n, " units");
  }
  TORCH_CHECK(!problem.residual || std::all_of(problem.widths.begin(), problem.widths.end(),
                                               [&](auto n) { return n == problem.widths[0]; }),
              "a residual network has equal widths");
  TORCH_CHECK(problem.forgetting > 0 && problem.forgetting <= 1,
              "a forgetting factor lies in (0, 1], not ", problem.forgetting);
  TORCH_CHECK(problem.delta > 0, "delta must be positive, not ", problem.delta);
}

void check(const Problem& problem, const Members& members) {
  TORCH_CHECK(static_cast<std::int64_t>(members.weights.size()) == depth(problem), "weights of ",
              members.weights.size(), " layers do not fit a network of ", depth(problem));
  const auto count = members.rates.numel();
  for (std::int64_t l = 1; l <= depth(problem); ++l) {
    const auto& weight = members.weights[static_cast<std::size_t>(l - 1)];
    const std::vector<std::int64_t> shape{count, width(problem, l), width(problem, l - 1)};
    TORCH_CHECK(weight.sizes() == at::IntArrayRef(shape), "weights of layer ", l, " have shape ",
                weight.sizes(), ", not ", at::IntArrayRef(shape));
  }
  TORCH_CHECK(members.streams.sizes() == members.rates.sizes() && members.rates.dim() == 1,
              "rates and streams are one number a member, not of shapes ", members.rates.sizes(),
              " and ", members.streams.sizes());
  TORCH_CHECK(!regularised(problem) || (members.regularisation.defined() &&
                                        members.regularisation.sizes() == members.rates.sizes()),
              "the rescaling needs a regularisation for each of ", count, " members");
}

void check(const Problem& problem, const Members& members, const Streams& streams) {
  TORCH_CHECK(streams.batch, "there is no data to learn from");
  if (members.streams.numel() == 0) return;
  TORCH_CHECK(members.streams.min().item<std::int64_t>() >= 0, "a stream cannot be negative");
  if (problem.error != Error::kMap) return;
  TORCH_CHECK(streams.maps.defined() && streams.maps.dim() == 3 &&
                  streams.maps.size(1) == width(problem, depth(problem)) &&
                  streams.maps.size(2) == width(problem, 0),
              "the map error needs a map [S, n_L, n_0] for every stream");
  TORCH_CHECK(members.streams.max().item<std::int64_t>() < streams.maps.size(0),
              "a member learns from stream ", members.streams.max().item<std::int64_t>(),
              ", but there are ", streams.maps.size(0), " maps");
}

std::int64_t processors() {
  return std::max<std::int64_t>(1, std::thread::hardware_concurrency());
}

std::size_t second_level_cache() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  if (const auto bytes = sysconf(_SC_LEVEL2_CACHE_SIZE); bytes > 0) {
    return static_cast<std::size_t>(bytes);
  }
#endif
  return std::size_t{1} << 20;
}

at::Tensor plain(const at::Tensor& values, at::ScalarType dtype) {
  return values.to(at::kCPU, dtype).contiguous();
}

// An ensemble in training: all members interleaved in vectors, and where their measurements go.
template <typename T>
class Run {
 public:
  Run(const Problem& problem, const Members& members, const Streams& streams, std::int64_t steps,
      const RunOptions& options)
      : problem_(problem),
        streams_(streams),
        steps_(steps),
        options_(options),
        threads_(options.threads > 0 ? options.threads : processors()),
        lanes_(lanes<T>()),
        members_(members.rates.numel()) {
    prepare_result(members);
    interleave(members);
  }

  Result train() {
    progress_.total = members_ * steps_;
    std::int64_t next = 0;
    while (next <= steps_ && !stopped_) {
      const auto chunk = draw(next);
      next += static_cast<std::int64_t>(chunk.data.size());
      train(chunk);
    }
    if (remembers()) collect_memory();
    return result_;
  }

 private:
  static constexpr at::ScalarType kType = c10::CppTypeToScalarType<T>::value;

  void prepare_result(const Members& members) {
    result_.errors = at::full({steps_ + 1, members_}, kNaN, at::kDouble);
    if (problem_.alignment) result_.alignments = at::full_like(result_.errors, kNaN);
    for (const auto& weight : members.weights) {
      result_.weights.push_back(weight.detach().clone(at::MemoryFormat::Contiguous));
    }
    result_.left_at = at::full({members_}, -1, at::kLong);
    result_.zero_denominators = at::zeros({members_}, at::kLong);
    result_.finished = at::zeros({members_}, at::kBool);

    records_.members = members_;
    records_.errors = result_.errors.template data_ptr<double>();
    if (problem_.alignment) records_.alignments = result_.alignments.template data_ptr<double>();
    records_.left_at = result_.left_at.template data_ptr<std::int64_t>();
    records_.zero_denominators = result_.zero_denominators.template data_ptr<std::int64_t>();
    for (const auto& w : result_.weights) records_.weights.push_back(w.template data_ptr<T>());
  }

  // ---- Members in vectors ---------------------------------------------------------------------

  void interleave(const Members& members) {
    // Lanes that share a stream share its numbers.
    std::vector<std::int64_t> order(static_cast<std::size_t>(members_));
    std::iota(order.begin(), order.end(), 0);
    const auto streams = plain(members.streams, at::kLong);
    const auto* stream = streams.const_data_ptr<std::int64_t>();
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return stream[a] < stream[b]; });

    const std::int64_t count = (members_ + lanes_ - 1) / lanes_;
    group_size_ = group_numbers();
    state_ = hwy::AllocateAligned<T>(static_cast<std::size_t>(count * group_size_));
    groups_.resize(static_cast<std::size_t>(count));
    const auto rates = plain(members.rates, kType);
    const auto regularisation = members.regularisation.defined()
                                    ? plain(members.regularisation, kType)
                                    : at::zeros({members_}, kType);
    const auto maps = problem_.error == Error::kMap ? plain(streams_.maps, kType) : at::Tensor();
    for (std::int64_t g = 0; g < count; ++g) {
      auto& group = groups_[static_cast<std::size_t>(g)];
      for (std::int64_t lane = 0; lane < lanes_; ++lane) {
        const auto place = g * lanes_ + lane;
        const auto member = order[static_cast<std::size_t>(std::min(place, members_ - 1))];
        group.member.push_back(member);
        group.stream.push_back(stream[member]);
        group.active.push_back(place < members_);
      }
    }
    std::atomic<std::int64_t> next = 0;
    in_threads(count, [&] {
      for (auto g = next.fetch_add(1); g < count; g = next.fetch_add(1)) {
        fill(groups_[static_cast<std::size_t>(g)], state_.get() + g * group_size_, rates,
             regularisation, maps);
      }
    });
  }

  std::int64_t group_numbers() const {
    std::int64_t numbers = 3 * lanes_;
    for (std::int64_t l = 1; l <= depth(problem_); ++l) {
      const auto n = width(problem_, l - 1);
      numbers += footprint(width(problem_, l), n, lanes_);
      if (remembers()) numbers += footprint(n, n, lanes_);
    }
    if (problem_.error == Error::kMap) {
      numbers += footprint(width(problem_, depth(problem_)), width(problem_, 0), lanes_);
    }
    return numbers;
  }

  bool remembers() const { return problem_.rescaling == Rescaling::kRecursiveProjection; }

  void fill(Group<T>& group, T* at, const at::Tensor& rates, const at::Tensor& regularisation,
            const at::Tensor& maps) {
    const auto take = [&](std::int64_t numbers) { return std::exchange(at, at + numbers); };
    group.rates = take(lanes_);
    group.regularisation = take(lanes_);
    group.first_error = take(lanes_);
    std::fill_n(group.first_error, lanes_, T(0));
    for (std::int64_t lane = 0; lane < lanes_; ++lane) {
      const auto member = group.member[static_cast<std::size_t>(lane)];
      group.rates[lane] = rates.template const_data_ptr<T>()[member];
      group.regularisation[lane] = regularisation.template const_data_ptr<T>()[member];
    }
    group.weights = at;
    for (std::int64_t l = 1; l <= depth(problem_); ++l) {
      const auto& weights = result_.weights[static_cast<std::size_t>(l - 1)];
      const auto out = place(take, weights.size(1), weights.size(2));
      spread(weights, group.member, out);
      if (problem_.residual) add_to_diagonal(out, T(1));
    }
    if (remembers()) {
      group.memory = at;
      for (std::int64_t l = 1; l <= depth(problem_); ++l) {
        const auto n = width(problem_, l - 1);
        const auto out = place(take, n, n);
        std::fill_n(out.data, footprint(n, n, lanes_), T(0));
        add_to_diagonal(out, static_cast<T>(problem_.delta));
      }
    }
    if (problem_.error == Error::kMap) {
      const auto out = place(take, maps.size(1), maps.size(2));
      group.teacher = out.data;
      spread(maps, group.stream, out);
    }
  }

  template <class Take>
  Matrix<T> place(const Take& take, std::int64_t rows, std::int64_t cols) const {
    return matrix_at(take(footprint(rows, cols, lanes_)), rows, cols, lanes_);
  }

  // Matrices [.., m, n] number index[lane] of a batch, one to a lane.
  void spread(const at::Tensor& batch, const std::vector<std::int64_t>& index,
              const Matrix<T>& out) const {
    for (std::int64_t lane = 0; lane < lanes_; ++lane) {
      const T* from =
          batch.const_data_ptr<T>() + index[static_cast<std::size_t>(lane)] * out.rows * out.cols;
      for (std::ptrdiff_t i = 0; i < out.rows; ++i) {
        for (std::ptrdiff_t j = 0; j < out.cols; ++j) out.at(i, j)[lane] = *from++;
      }
    }
  }

  void collect_memory() {
    auto at = std::vector<T*>();
    for (const auto& group : groups_) at.push_back(group.memory);
    for (std::int64_t l = 1; l <= depth(problem_); ++l) {
      const auto n = width(problem_, l - 1);
      result_.memory.push_back(at::zeros({members_, n, n}, kType));
      for (std::size_t g = 0; g < groups_.size(); ++g) {
        const auto q =
            matrix_at(std::exchange(at[g], at[g] + footprint(n, n, lanes_)), n, n, lanes_);
        gather(q, groups_[g], result_.memory.back());
      }
    }
  }

  // The inverse of spread, of the lanes that hold members of their own.
  void gather(const Matrix<T>& matrix, const Group<T>& group, at::Tensor& batch) const {
    const auto first = (&group - groups_.data()) * lanes_;
    const auto real = std::min(lanes_, members_ - first);
    for (std::int64_t lane = 0; lane < real; ++lane) {
      T* to = batch.data_ptr<T>() +
              group.member[static_cast<std::size_t>(lane)] * matrix.rows * matrix.cols;
      for (std::ptrdiff_t i = 0; i < matrix.rows; ++i) {
        for (std::ptrdiff_t j = 0; j < matrix.cols; ++j) *to++ = matrix.at(i, j)[lane];
      }
    }
  }

  void add_to_diagonal(const Matrix<T>& matrix, T value) const {
    for (std::ptrdiff_t i = 0; i < matrix.rows; ++i) {
      for (std::int64_t lane = 0; lane < lanes_; ++lane) matrix.at(i, i)[lane] += value;
    }
  }

  // ---- Data -----------------------------------------------------------------------------------

  // The steps from `first` on that fit into the memory given to data, at least one.
  Chunk<T> draw(std::int64_t first) {
    std::vector<data::Batch> batches;
    const auto drawn = problem_.error == Error::kMap ? steps_ : steps_ + 1;
    std::int64_t bytes = 0;
    for (auto step = first; step < drawn && bytes <= options_.data_bytes; ++step) {
      batches.push_back(draw_batch(step));
      bytes += 8 * (batches.back().input.numel() + batches.back().target.numel());
    }
    Chunk<T> chunk{.first = first, .steps = steps_, .data = {}};
    chunk.data.resize(batches.size());
    // Few streams fill the lanes of a compression with several steps.
    const auto streams = batches.empty() ? 1 : batches.front().input.size(0);
    const auto together =
        static_cast<std::size_t>(std::max<std::int64_t>(1, ensemble::lanes<double>() / streams));
    std::atomic<std::size_t> next = 0;
    in_threads(static_cast<std::int64_t>((batches.size() + together - 1) / together), [&] {
      for (auto i = next.fetch_add(together); i < batches.size() && !stopped_;
           i = next.fetch_add(together)) {
        const auto count = std::min(together, batches.size() - i);
        prepare(&batches[i], count, &chunk.data[i]);
      }
    });
    const auto end = first + static_cast<std::int64_t>(batches.size());
    // The map's last error needs no data.
    if (end == steps_ && drawn == steps_) chunk.data.emplace_back();
    return chunk;
  }

  data::Batch draw_batch(std::int64_t step) const {
    const auto batch = streams_.batch(step);
    check(batch);
    return {plain(batch.input, at::kDouble), plain(batch.target, at::kDouble), batch.samples};
  }

  // The data of some steps.
  void prepare(const data::Batch* batches, std::size_t count, StepData<T>* out) const {
    const bool alike = std::all_of(batches, batches + count, [&](const data::Batch& batch) {
      return batch.input.size(1) == batches->input.size(1);
    });
    if (!alike) {
      for (std::size_t i = 0; i < count; ++i) prepare(batches + i, 1, out + i);
      return;
    }
    std::vector<at::Tensor> inputs;
    std::vector<at::Tensor> targets;
    for (std::size_t i = 0; i < count; ++i) {
      inputs.push_back(batches[i].input);
      targets.push_back(batches[i].target);
    }
    const auto input = at::cat(inputs);
    const auto target = at::cat(targets);
    const auto compressed = compress({.input = input.const_data_ptr<double>(),
                                      .target = target.const_data_ptr<double>(),
                                      .streams = input.size(0),
                                      .rows = input.size(1),
                                      .inputs = input.size(2),
                                      .outputs = target.size(2)});
    for (std::size_t i = 0; i < count; ++i) {
      const double scale = 1 / std::sqrt(static_cast<double>(batches[i].samples));
      out[i].samples = batches[i].samples;
      out[i].columns = compressed.columns;
      out[i].input = scaled(piece(compressed.input, i, count), scale);
      out[i].target = scaled(piece(compressed.target, i, count), scale);
      if (!problem_.alignment) continue;
      out[i].full_columns = batches[i].input.size(1);
      out[i].full_input = transposed(batches[i].input);
      out[i].full_target = transposed(batches[i].target);
    }
  }

  // Number i of `count` equal pieces.
  static std::span<const double> piece(const std::vector<double>& values, std::size_t i,
                                       std::size_t count) {
    const auto size = values.size() / count;
    return std::span(values).subspan(i * size, size);
  }

  void check(const data::Batch& batch) const {
    const auto fits = [&](const at::Tensor& t, std::int64_t n) {
      return t.dim() == 3 && t.size(1) == batch.input.size(1) && t.size(2) == n;
    };
    TORCH_CHECK(fits(batch.input, width(problem_, 0)) &&
                    fits(batch.target, width(problem_, depth(problem_))) &&
                    batch.input.size(0) == batch.target.size(0),
                "a batch of shapes ", batch.input.sizes(), " and ", batch.target.sizes(),
                " does not fit the network: [S, B, n] is needed");
    for (const auto& group : groups_) {
      for (const auto stream : group.stream) {
        TORCH_CHECK(stream < batch.input.size(0), "a member learns from stream ", stream,
                    ", but the batch has ", batch.input.size(0));
      }
    }
  }

  static std::vector<T> scaled(std::span<const double> values, double scale) {
    std::vector<T> result(values.size());
    std::transform(values.begin(), values.end(), result.begin(),
                   [&](double value) { return static_cast<T>(scale * value); });
    return result;
  }

  // [S][n][B]
  static std::vector<T> transposed(const at::Tensor& samples) {
    const auto columns = samples.mT().to(kType).contiguous();
    const T* data = columns.template const_data_ptr<T>();
    return {data, data + columns.numel()};
  }

  // ---- Work -----------------------------------------------------------------------------------

  void train(const Chunk<T>& chunk) {
    Columns columns;
    for (const auto& data : chunk.data) {
      columns.batch = std::max(columns.batch, data.columns);
      columns.full = std::max(columns.full, data.full_columns);
    }
    const auto scratch = scratch_size<T>(problem_, columns);
    const auto size = block_size(scratch);
    const auto count = static_cast<std::int64_t>(groups_.size());
    std::atomic<std::int64_t> next = 0;
    in_threads((count + size - 1) / size, [&] {
      const auto buffers = hwy::AllocateAligned<T>(scratch);
      std::fill_n(buffers.get(), scratch, T(0));
      while (!stopped_) {
        const auto begin = next.fetch_add(size);
        if (begin >= count) return;
        std::vector<Group<T>*> block;
        for (auto g = begin; g < std::min(begin + size, count); ++g) {
          block.push_back(&groups_[static_cast<std::size_t>(g)]);
        }
        run_block(problem_, chunk, columns, block, records_, buffers.get());
        report(chunk, block);
      }
    });
  }

  // Does work() in worker threads, no more than there are pieces. Even a single one is a thread of
  // its own: the caller's keeps its way with denormal numbers.
  template <class Work>
  void in_threads(std::int64_t pieces, const Work& work) {
    std::vector<std::thread> workers;
    for (std::int64_t i = 0; i < std::min(threads_, pieces); ++i) {
      try {
        workers.emplace_back([&] {
          try {
            at::Context::setFlushDenormal(true);
            work();
          } catch (...) {
            stop(std::current_exception());
          }
        });
      } catch (const std::system_error&) {
        // The system gives no more threads: those that there are do the work.
        if (workers.empty()) throw;
        break;
      }
    }
    for (auto& worker : workers) worker.join();
    if (failure_) std::rethrow_exception(failure_);
  }

  // Vectors in a block: what stays in the second-level cache, and enough blocks to share out.
  std::int64_t block_size(std::size_t scratch) const {
    if (options_.block > 0) return options_.block;
    const auto cache = second_level_cache() / sizeof(T);
    const auto left = cache > scratch ? cache - scratch : 0;
    const auto fitting = static_cast<std::int64_t>(left) / group_size_;
    const auto shared = static_cast<std::int64_t>(groups_.size()) / (8 * threads_);
    return std::max<std::int64_t>(1, std::min({fitting, shared, std::int64_t{16}}));
  }

  void report(const Chunk<T>& chunk, const std::vector<Group<T>*>& block) {
    const std::scoped_lock lock(mutex_);
    const auto end = chunk.first + static_cast<std::int64_t>(chunk.data.size());
    const auto trained = std::min(end, steps_) - chunk.first;
    auto* finished = result_.finished.template data_ptr<bool>();
    progress_.finished.clear();
    for (const auto* group : block) {
      const auto first = group - groups_.data();
      const auto real = std::min(lanes_, members_ - first * lanes_);
      progress_.done += real * trained;
      if (end <= steps_) continue;
      for (std::int64_t lane = 0; lane < real; ++lane) {
        const auto member = group->member[static_cast<std::size_t>(lane)];
        finished[member] = true;
        progress_.finished.push_back(member);
      }
    }
    if (options_.on_progress && !stopped_ && !options_.on_progress(progress_, result_)) {
      stopped_ = true;
    }
  }

  void stop(std::exception_ptr failure) {
    const std::scoped_lock lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
    stopped_ = true;
  }

  const Problem& problem_;
  const Streams& streams_;
  std::int64_t steps_;
  const RunOptions& options_;
  std::int64_t threads_;
  std::int64_t lanes_;
  std::int64_t members_;
  std::int64_t group_size_ = 0;
  hwy::AlignedFreeUniquePtr<T[]> state_;
  std::vector<Group<T>> groups_;
  Result result_;
  Records<T> records_;
  std::mutex mutex_;
  Progress progress_;
  std::exception_ptr failure_;
  std::atomic<bool> stopped_ = false;
};

}  // namespace

std::optional<std::string> unsupported(const Problem& problem, const Members& members) {
  if (regularised(problem) && !members.regularisation.gt(0).all().item<bool>()) {
    return "a regularisation of 0 asks for a pseudo-inverse, which only the tensor path computes";
  }
  if (problem.rescaling == Rescaling::kDecorrelation && problem.spectrum != "symmetric") {
    return fmt::format("the spectrum '{}' is read on the tensor path only", problem.spectrum);
  }
  for (const auto& weight : members.weights) {
    const auto type = weight.scalar_type();
    if (!weight.is_cpu()) return "the lane engine needs weights on the CPU";
    if ((type != at::kDouble && type != at::kFloat) ||
        type != members.weights.front().scalar_type()) {
      return "the weights are not all float64 or all float32";
    }
  }
  return std::nullopt;
}

Result run(const Problem& problem, const Members& members, const Streams& streams,
           std::int64_t steps, const RunOptions& options) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(steps >= 0, "a run of ", steps, " steps");
  check(problem);
  check(problem, members);
  check(problem, members, streams);
  if (const auto reason = unsupported(problem, members)) user_error("{}", *reason);
  if (members.weights.front().scalar_type() == at::kFloat) {
    return Run<float>(problem, members, streams, steps, options).train();
  }
  return Run<double>(problem, members, streams, steps, options).train();
}

}  // namespace pcxx::ensemble
