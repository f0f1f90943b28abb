// One training step of a vector of networks: included once per instruction set by kernels.cpp.
#if defined(PCXX_ENSEMBLE_STEPPER_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef PCXX_ENSEMBLE_STEPPER_INL_H
#undef PCXX_ENSEMBLE_STEPPER_INL_H
#else
#define PCXX_ENSEMBLE_STEPPER_INL_H
#endif

#include <pcxx/core/precision.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "ensemble/block.h"
#include "ensemble/linalg-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pcxx::ensemble::HWY_NAMESPACE {

// A member whose error exceeds its first one this many times has diverged (metrics::kDivergence).
inline constexpr double kDivergence = 1e6;

// Hands out a worker's buffers; with no memory behind it, it only counts.
template <typename T>
class Arena {
 public:
  Arena(T* start, Index lanes) : start_(start), lanes_(lanes) {}

  T* vectors(Index count) {
    T* const taken = start_ ? start_ + used_ : nullptr;
    used_ += count * lanes_;
    return taken;
  }
  T* matrix(Index rows, Index cols) { return vectors(rows * padded(cols)); }
  Index used() const { return used_; }

 private:
  T* start_;
  Index lanes_;
  Index used_ = 0;
};

template <class D>
class Stepper {
  using T = hn::TFromD<D>;
  using V = hn::Vec<D>;

 public:
  Stepper(const Problem& problem, Columns columns, T* scratch)
      : problem_(problem),
        n_(problem.widths.begin(), problem.widths.end()),
        depth_(static_cast<Index>(n_.size()) - 1),
        arena_(scratch, lanes_) {
    allocate(columns);
  }

  Index scratch_used() const { return arena_.used(); }

  void step(const Chunk<T>& chunk, Index offset, Group<T>& group, const Records<T>& records) {
    const auto& data = chunk.data[static_cast<std::size_t>(offset)];
    const auto step = chunk.first + offset;
    enter(group, data, step);
    compose();
    if (data.columns > 0) {
      multiply_add(d_, map_, x_, y_, hn::Set(d_, T(-1)), residual_);
    }
    record_error(step, records);
    if (step == chunk.steps) {
      for (Index lane = 0; lane < lanes_; ++lane) {
        if (group_->active[static_cast<std::size_t>(lane)]) keep_weights(lane, records);
      }
      return;
    }
    if (group.done) return;
    if (problem_.rule == Rule::kPredictiveCoding) {
      predictive_coding();
    } else {
      backpropagation();
    }
    if (problem_.alignment) {
      record_alignment(step, data, records);
      for (Index l = 1; l <= depth_; ++l) move(l, direction(l), rate_);
    }
    if (problem_.rescaling == Rescaling::kAlpha) count_zeros(records);
  }

 private:
  // ---- Buffers --------------------------------------------------------------------------------

  void allocate(Columns columns) {
    const Index inputs = n_.front();
    const Index outputs = n_.back();
    const Index widest = *std::max_element(n_.begin(), n_.end());
    const Index batch = std::max<Index>(columns.batch, 1);
    const Index across = std::max(batch, inputs);
    const bool rescaled = problem_.rescaling != Rescaling::kNone;

    input_ = arena_.matrix(inputs, batch);
    target_ = arena_.matrix(outputs, batch);
    residuals_ = arena_.matrix(outputs, batch);
    map_ = matrix(arena_.matrix(outputs, inputs), outputs, inputs);
    scaling_ = matrix(arena_.matrix(outputs, outputs), outputs, outputs);
    chain_.resize(n_.size());
    for (Index l = 1; l < depth_; ++l) {
      chain_[size(l)] =
          arena_.vectors(std::max({outputs * padded(n_[size(l)]), n_[size(l)] * padded(across)}));
    }
    for (auto& buffer : rolling_) buffer = arena_.matrix(widest, across);
    if (rescaled) {
      const Index side = std::max(widest, batch);
      for (auto& buffer : square_) buffer = arena_.matrix(side, side);
      thin_ = arena_.matrix(widest, widest);
      tau_ = arena_.vectors(widest);
      work_ = arena_.vectors(4 * widest);
    }
    weights_.resize(n_.size());
    memories_.resize(n_.size());
    directions_.resize(n_.size());
    if (problem_.alignment) {
      for (Index l = 1; l <= depth_; ++l) {
        directions_[size(l)] = arena_.matrix(n_[size(l)], n_[size(l - 1)]);
      }
      const Index full = std::max<Index>(columns.full, 1);
      full_input_ = arena_.matrix(inputs, full);
      full_target_ = arena_.matrix(outputs, full);
      full_change_ = arena_.matrix(outputs, full);
      for (auto& buffer : map_change_) buffer = arena_.matrix(widest, inputs);
      for (auto& buffer : map_below_) buffer = arena_.matrix(widest, inputs);
    }
  }

  static std::size_t size(Index i) { return static_cast<std::size_t>(i); }
  Index width(Index l) const { return n_[size(l)]; }
  Matrix<T> matrix(T* data, Index rows, Index cols) const {
    return matrix_at(data, rows, cols, lanes_);
  }
  const Matrix<T>& weight(Index l) const { return weights_[size(l)]; }
  Matrix<T> direction(Index l) const {
    return matrix(directions_[size(l)], width(l), width(l - 1));
  }
  // P_l, [n_L, n_l]; P_{L-1} is the last layer's weight.
  Matrix<T> downstream(Index l) const {
    return l == depth_ - 1 ? weight(depth_) : matrix(chain_[size(l)], width(depth_), width(l));
  }
  // M_l ... M_1, [n_l, n_0].
  Matrix<T> upstream(Index l) const {
    if (l == 1) return weight(1);
    return l == depth_ ? map_ : matrix(chain_[size(l)], width(l), width(0));
  }

  void enter(Group<T>& group, const StepData<T>& data, std::int64_t step) {
    group_ = &group;
    rate_ = load(d_, group.rates);
    T* weight = group.weights;
    T* memory = group.memory;
    for (Index l = 1; l <= depth_; ++l) {
      weights_[size(l)] = matrix(weight, width(l), width(l - 1));
      weight += footprint(width(l), width(l - 1), lanes_);
      memories_[size(l)] = matrix(memory, width(l - 1), width(l - 1));
      if (memory) memory += footprint(width(l - 1), width(l - 1), lanes_);
    }
    columns_ = data.columns;
    samples_ = static_cast<T>(data.samples);
    x_ = matrix(input_, width(0), columns_);
    y_ = matrix(target_, width(depth_), columns_);
    residual_ = matrix(residuals_, width(depth_), columns_);
    if (columns_ == 0) return;
    const std::int64_t shared = shared_stream();
    if (shared >= 0 && shared == entered_stream_ && step == entered_step_) return;
    interleave(data.input, x_, shared);
    interleave(data.target, y_, shared);
    entered_stream_ = shared;
    entered_step_ = step;
  }

  // The stream of all lanes, or -1 where they differ.
  std::int64_t shared_stream() const {
    const auto& stream = group_->stream;
    const bool same = std::all_of(stream.begin(), stream.end(),
                                  [&](std::int64_t s) { return s == stream.front(); });
    return same ? stream.front() : -1;
  }

  void interleave(const std::vector<T>& all, const Matrix<T>& out, std::int64_t shared) {
    const Index count = out.rows * out.cols;
    if (shared >= 0) {
      const T* from = all.data() + shared * count;
      for (Index i = 0; i < out.rows; ++i) {
        for (Index j = 0; j < out.cols; ++j) hn::Store(hn::Set(d_, *from++), d_, out.at(i, j));
      }
      return;
    }
    for (Index lane = 0; lane < lanes_; ++lane) {
      const T* from = all.data() + group_->stream[size(lane)] * count;
      for (Index i = 0; i < out.rows; ++i) {
        for (Index j = 0; j < out.cols; ++j) out.at(i, j)[lane] = *from++;
      }
    }
  }

  // ---- The map and its error ------------------------------------------------------------------

  // The network's map by products from the side that the learning rule needs: downstream for
  // predictive coding, upstream for backpropagation.
  void compose() {
    if (depth_ == 1) {
      copy(weight(1), map_);
    } else if (problem_.rule == Rule::kPredictiveCoding) {
      for (Index l = depth_ - 1; l >= 2; --l) {
        multiply(d_, downstream(l), weight(l), downstream(l - 1));
      }
      multiply(d_, downstream(1), weight(1), map_);
    } else {
      for (Index l = 2; l <= depth_; ++l) multiply(d_, weight(l), upstream(l - 1), upstream(l));
    }
  }

  void copy(const Matrix<T>& from, const Matrix<T>& to) {
    for (Index i = 0; i < from.rows; ++i) {
      for (Index j = 0; j < from.cols; ++j) hn::Store(load(d_, from.at(i, j)), d_, to.at(i, j));
    }
  }

  V map_error() const {
    const auto teacher = matrix(group_->teacher, width(depth_), width(0));
    V sum = hn::Zero(d_);
    for (Index i = 0; i < map_.rows; ++i) {
      V row = hn::Zero(d_);
      for (Index j = 0; j < map_.cols; ++j) {
        const V difference = hn::Sub(load(d_, map_.at(i, j)), load(d_, teacher.at(i, j)));
        row = hn::MulAdd(difference, difference, row);
      }
      sum = hn::Add(sum, row);
    }
    return hn::Mul(sum, hn::Set(d_, T(1) / static_cast<T>(map_.rows * map_.cols)));
  }

  V training_error() const {
    V sum = hn::Zero(d_);
    for (Index i = 0; i < residual_.rows; ++i) {
      V row = hn::Zero(d_);
      for (Index j = 0; j < residual_.cols; ++j) {
        const V r = load(d_, residual_.at(i, j));
        row = hn::MulAdd(r, r, row);
      }
      sum = hn::Add(sum, row);
    }
    return hn::Mul(sum, hn::Set(d_, T(1) / static_cast<T>(residual_.rows)));
  }

  void record_error(std::int64_t step, const Records<T>& records) {
    HWY_ALIGN T errors[hn::MaxLanes(D())];
    hn::Store(problem_.error == Error::kMap ? map_error() : training_error(), d_, errors);
    group_->done = true;
    for (Index lane = 0; lane < lanes_; ++lane) {
      auto& active = group_->active[size(lane)];
      if (!active) continue;
      const auto member = group_->member[size(lane)];
      const T error = errors[lane];
      T& first = group_->first_error[lane];
      if (step == 0) first = error;
      records.errors[step * records.members + member] = static_cast<double>(error);
      if (std::isfinite(error) && static_cast<double>(error) <= kDivergence * first) {
        group_->done = false;
        continue;
      }
      active = false;
      records.left_at[member] = step;
      keep_weights(lane, records);
    }
  }

  void keep_weights(Index lane, const Records<T>& records) const {
    const auto member = group_->member[size(lane)];
    for (Index l = 1; l <= depth_; ++l) {
      const auto& m = weight(l);
      T* out = records.weights[size(l - 1)] + member * m.rows * m.cols;
      for (Index i = 0; i < m.rows; ++i) {
        for (Index j = 0; j < m.cols; ++j) {
          *out++ = m.at(i, j)[lane] - (problem_.residual && i == j ? T(1) : T(0));
        }
      }
    }
  }

  // ---- Learning rules -------------------------------------------------------------------------

  // e_l = P_l^T v with S v = r, S = I + sum_l P_l P_l^T; then, upwards, x*_l = M_l x*_{l-1} + e_l.
  void predictive_coding() {
    const auto& v = residual_;
    if (depth_ > 1) {
      multiply(d_, downstream(1), downstream(1).t(), scaling_, Part::kLower);
      const V one = hn::Set(d_, T(1));
      for (Index l = 2; l < depth_; ++l) {
        multiply_add(d_, downstream(l), downstream(l).t(), scaling_, one, scaling_, Part::kLower);
      }
      add_to_diagonal(scaling_, one);
      cholesky(d_, scaling_);
      solve_cholesky(d_, scaling_, v);
    }
    // The errors take the place of P_l, which is not needed any more.
    const auto error = [&](Index l) {
      return l == depth_ ? v : matrix(chain_[size(l)], width(l), columns_);
    };
    for (Index l = depth_ - 1; l >= 1; --l) {
      multiply(d_, weight(l + 1).t(), error(l + 1), error(l));
    }
    begin_rescaling();
    const V one = hn::Set(d_, T(1));
    auto activity = x_;
    auto feedforward = x_;
    for (Index l = 1; l <= depth_; ++l) {
      auto next_activity = matrix(rolling_[size(l % 2)], width(l), columns_);
      auto next_feedforward = matrix(rolling_[size(2 + l % 2)], width(l), columns_);
      if (l < depth_) {
        if (needs_feedforward()) multiply(d_, weight(l), feedforward, next_feedforward);
        multiply_add(d_, weight(l), activity, error(l), one, next_activity);
      }
      update(l, error(l), activity, feedforward);
      activity = next_activity;
      feedforward = next_feedforward;
    }
  }

  // e_l = M_{l+1}^T e_{l+1} and u_l = xhat_l. Without rescaling the columns of the batch can be
  // summed over first: D_l = e_l xhat_{l-1}^T = (P_l^T r x^T) (M_{l-1} ... M_1)^T.
  void backpropagation() {
    const bool summed = problem_.rescaling == Rescaling::kNone && columns_ >= width(0);
    const Index cols = summed ? width(0) : columns_;
    auto error = residual_;
    if (summed) {
      error = matrix(rolling_[2], width(depth_), cols);
      multiply(d_, residual_, x_.t(), error);
    } else {
      // The activities take the place of the products M_l ... M_1.
      for (Index l = 1; l < depth_; ++l) {
        multiply(d_, weight(l), activity_below(l - 1, cols), activity_below(l, cols));
      }
    }
    begin_rescaling();
    for (Index l = depth_; l >= 1; --l) {
      const auto next = matrix(rolling_[size(l % 2)], width(l - 1), cols);
      if (l > 1) multiply(d_, weight(l).t(), error, next);
      if (summed && l == 1) {
        move_or_keep(1, error, hn::Set(d_, T(1)));
      } else {
        const auto below = summed ? upstream(l - 1) : activity_below(l - 1, cols);
        update(l, error, below, below);
      }
      error = next;
    }
  }

  Matrix<T> activity_below(Index l, Index cols) const {
    return l == 0 ? x_ : matrix(chain_[size(l)], width(l), cols);
  }

  bool needs_feedforward() const { return problem_.rescaling != Rescaling::kNone; }

  // ---- Rescalings -----------------------------------------------------------------------------

  void begin_rescaling() {
    if (problem_.rescaling == Rescaling::kAlpha) first_denominator_ = mean_product(x_, x_);
    zeros_ = hn::Zero(d_);
  }

  void update(Index l, const Matrix<T>& e, const Matrix<T>& u, const Matrix<T>& xhat) {
    switch (problem_.rescaling) {
      case Rescaling::kNone:
        return move_by_product(l, e, u.t(), hn::Set(d_, T(1)));
      case Rescaling::kAlpha:
        return alpha(l, e, u, xhat);
      case Rescaling::kDecorrelation:
        // Backpropagation's u = xhat makes the factor symmetric: that of the projection.
        if (problem_.rule == Rule::kBackpropagation) return projection(l, e, xhat);
        return decorrelation(l, e, u, xhat);
      case Rescaling::kProjection:
        return projection(l, e, xhat);
      case Rescaling::kRecursiveProjection:
        return recursive_projection(l, e, xhat);
    }
  }

  // W_l moves by rate * scale * a b; with an alignment to measure first, the direction is kept.
  void move_by_product(Index l, const Matrix<T>& a, const Matrix<T>& b, V scale) {
    if (!problem_.alignment) {
      multiply_add(d_, a, b, weight(l), hn::Mul(rate_, scale), weight(l));
      return;
    }
    multiply(d_, a, b, direction(l));
    for_each(direction(l),
             [&](T* at) HWY_ATTR { hn::Store(hn::Mul(scale, load(d_, at)), d_, at); });
  }

  // W_l moves by rate * scale * step, or that direction is kept.
  void move_or_keep(Index l, const Matrix<T>& step, V scale) {
    if (!problem_.alignment) return move(l, step, hn::Mul(rate_, scale));
    const auto kept = direction(l);
    for (Index i = 0; i < step.rows; ++i) {
      for (Index j = 0; j < step.cols; ++j) {
        hn::Store(hn::Mul(scale, load(d_, step.at(i, j))), d_, kept.at(i, j));
      }
    }
  }

  void move(Index l, const Matrix<T>& step, V scale) {
    const auto& w = weight(l);
    for (Index i = 0; i < w.rows; ++i) {
      for (Index j = 0; j < w.cols; ++j) {
        hn::Store(hn::MulAdd(scale, load(d_, step.at(i, j)), load(d_, w.at(i, j))), d_, w.at(i, j));
      }
    }
  }

  template <class Body>
  void for_each(const Matrix<T>& m, const Body& body) const {
    for (Index i = 0; i < m.rows; ++i) {
      for (Index j = 0; j < m.cols; ++j) body(m.at(i, j));
    }
  }

  void add_to_diagonal(const Matrix<T>& m, V value) const {
    for (Index i = 0; i < m.rows; ++i) {
      hn::Store(hn::Add(load(d_, m.at(i, i)), value), d_, m.at(i, i));
    }
  }

  // mean_b(a_b . b_b): the activities carry 1 / sqrt(B).
  V mean_product(const Matrix<T>& a, const Matrix<T>& b) const {
    V sum = hn::Zero(d_);
    for (Index i = 0; i < a.rows; ++i) {
      V row = hn::Zero(d_);
      for (Index j = 0; j < a.cols; ++j) {
        row = hn::MulAdd(load(d_, a.at(i, j)), load(d_, b.at(i, j)), row);
      }
      sum = hn::Add(sum, row);
    }
    return sum;
  }

  void alpha(Index l, const Matrix<T>& e, const Matrix<T>& u, const Matrix<T>& xhat) {
    V c = mean_product(u, problem_.presynaptic_denominator ? u : xhat);
    if (problem_.floor) {
      const V least = hn::Mul(hn::Set(d_, static_cast<T>(*problem_.floor)), first_denominator_);
      // A NaN stays.
      c = hn::IfThenElse(hn::Lt(c, least), least, c);
    }
    const V one = hn::Set(d_, T(1));
    zeros_ = hn::Add(zeros_, hn::IfThenElseZero(hn::Eq(c, hn::Zero(d_)), one));
    move_by_product(l, e, u.t(), divide_or_zero(d_, one, c));
  }

  void count_zeros(const Records<T>& records) const {
    HWY_ALIGN T zeros[hn::MaxLanes(D())];
    hn::Store(zeros_, d_, zeros);
    for (Index lane = 0; lane < lanes_; ++lane) {
      if (!group_->active[size(lane)]) continue;
      records.zero_denominators[group_->member[size(lane)]] +=
          static_cast<std::int64_t>(zeros[lane]);
    }
  }

  // What is added to a matrix, and what its inverse is multiplied by: 1, or 0 where the matrix is
  // 0, such as that of a layer without an active input.
  struct Regulariser {
    V eps;
    V share;
  };

  // eps = max(0, a lambda_max - lambda_min) of a symmetric matrix, destroyed; `thin` adds 0 to its
  // spectrum.
  Regulariser regulariser(const Matrix<T>& lower, bool thin) {
    const auto [smallest, largest] = extreme_eigenvalues(d_, lower, work_);
    const V zero = hn::Zero(d_);
    const V one = hn::Set(d_, T(1));
    const V a = hn::Max(load(d_, group_->regularisation), hn::Set(d_, kLeastRatio<T>));
    const V low = thin ? hn::IfThenElse(hn::Gt(smallest, zero), zero, smallest) : smallest;
    const V high = thin ? hn::IfThenElse(hn::Lt(largest, zero), zero, largest) : largest;
    const V eps = hn::MulSub(a, high, low);
    const auto none =
        hn::Le(hn::Max(hn::Abs(low), hn::Abs(high)), hn::Set(d_, kLeastEigenvalue<T>));
    return {hn::IfThenElse(none, one, hn::IfThenElse(hn::Lt(eps, zero), zero, eps)),
            hn::IfThenZeroElse(none, one)};
  }

  // E Xhat^T (Xhat Xhat^T + eps I)^-1, or E (Xhat^T Xhat + eps I)^-1 Xhat^T when the batch is
  // thinner than the layer.
  void projection(Index l, const Matrix<T>& e, const Matrix<T>& xhat) {
    const bool thin = columns_ < width(l - 1);
    const Index n = thin ? columns_ : width(l - 1);
    const auto gram = matrix(square_[0], n, n);
    const auto spectrum = matrix(square_[1], n, n);
    const auto left = thin ? xhat.t() : xhat;
    multiply(d_, left, left.t(), gram, Part::kLower);
    copy_lower(gram, spectrum);
    const auto [eps, share] = regulariser(spectrum, thin);
    add_to_diagonal(gram, eps);
    cholesky(d_, gram);
    if (thin) {
      const auto solved = matrix(thin_, width(l), n);
      copy(e, solved);
      solve_cholesky(d_, gram, solved.t());
      move_by_product(l, solved, xhat.t(), share);
      return;
    }
    const auto step = matrix(thin_, width(l), n);
    multiply(d_, e, xhat.t(), step);
    solve_cholesky(d_, gram, step.t());
    move_or_keep(l, step, share);
  }

  void copy_lower(const Matrix<T>& from, const Matrix<T>& to) const {
    for (Index i = 0; i < from.rows; ++i) {
      for (Index j = 0; j <= i; ++j) hn::Store(load(d_, from.at(i, j)), d_, to.at(i, j));
    }
  }

  // E U^T (Left Right^T + eps I)^-1 with Left = Xhat, Right = U; printed the other way round. The
  // factor is not symmetric, and only the symmetric part of it is positive definite: orthogonal
  // reflections need no pivots, which would differ from lane to lane.
  void decorrelation(Index l, const Matrix<T>& e, const Matrix<T>& u, const Matrix<T>& xhat) {
    const auto& left = problem_.as_printed ? u : xhat;
    const auto& right = problem_.as_printed ? xhat : u;
    if (columns_ < width(l - 1)) return thin_decorrelation(l, e, u, left, right);
    const Index n = width(l - 1);
    const auto factor = matrix(square_[0], n, n);
    multiply(d_, left, right.t(), factor);
    const auto [eps, share] = regulariser(symmetric_part(factor), false);
    add_to_diagonal(factor, eps);
    factorise_qr(d_, factor, tau_);
    const auto step = matrix(thin_, width(l), n);
    multiply(d_, e, u.t(), step);
    solve_qr_transposed(d_, factor, tau_, step.t());
    move_or_keep(l, step, share);
  }

  // Lower triangle of (a + a^T) / 2.
  Matrix<T> symmetric_part(const Matrix<T>& a) const {
    const auto half = hn::Set(d_, T(0.5));
    const auto result = matrix(square_[1], a.rows, a.rows);
    for (Index i = 0; i < a.rows; ++i) {
      for (Index j = 0; j <= i; ++j) {
        const V sum = hn::Add(load(d_, a.at(i, j)), load(d_, a.at(j, i)));
        hn::Store(hn::Mul(half, sum), d_, result.at(i, j));
      }
    }
    return result;
  }

  // Batch thinner than the layer: E (Right^T Left + eps I)^-1 Right^T with Right = U, and by
  // Woodbury's identity (E U^T - E U^T Left (Right^T Left + eps I)^-1 Right^T) / eps otherwise.
  void thin_decorrelation(Index l, const Matrix<T>& e, const Matrix<T>& u, const Matrix<T>& left,
                          const Matrix<T>& right) {
    const Regulariser found = thin_regulariser(left, right);
    const V eps = found.eps;
    const auto gram = matrix(square_[0], columns_, columns_);
    multiply(d_, right.t(), left, gram);
    add_to_diagonal(gram, eps);
    factorise_qr(d_, gram, tau_);
    const auto solved = matrix(thin_, width(l), columns_);
    if (!problem_.as_printed) {
      copy(e, solved);
      solve_qr_transposed(d_, gram, tau_, solved.t());
      move_by_product(l, solved, right.t(), found.share);
      return;
    }
    const auto inner = matrix(square_[1], columns_, columns_);
    multiply(d_, u.t(), left, inner);
    multiply(d_, e, inner, solved);
    solve_qr_transposed(d_, gram, tau_, solved.t());
    const auto step = matrix(square_[1], width(l), width(l - 1));
    multiply(d_, e, u.t(), step);
    multiply_add(d_, solved, right.t(), step, hn::Set(d_, T(-1)), step);
    for_each(step, [&](T* at) HWY_ATTR { hn::Store(hn::Div(load(d_, at), eps), d_, at); });
    move_or_keep(l, step, found.share);
  }

  // From 2C x 2C numbers where they are fewer: with the thin QR [left right] = q [r1 r2] the
  // symmetric part is q (r1 r2^T + r2 r1^T) q^T / 2.
  Regulariser thin_regulariser(const Matrix<T>& left, const Matrix<T>& right) {
    const Index n = left.rows;
    const Index both = 2 * columns_;
    const auto product = matrix(square_[0], std::min(n, both), std::min(n, both));
    if (both >= n) {
      multiply(d_, left, right.t(), product);
      return regulariser(symmetric_part(product), false);
    }
    const auto pair = matrix(square_[1], n, both);
    copy(left, pair.block(0, 0, n, columns_));
    copy(right, pair.block(0, columns_, n, columns_));
    factorise_qr(d_, pair, tau_);
    const auto r = pair.block(0, 0, both, both);
    const V one = hn::Set(d_, T(1));
    for (Index i = 0; i < both; ++i) {
      hn::Store(hn::Div(one, load(d_, r.at(i, i))), d_, r.at(i, i));
      for (Index j = 0; j < i; ++j) hn::Store(hn::Zero(d_), d_, r.at(i, j));
    }
    multiply(d_, r.block(0, 0, both, columns_), r.block(0, columns_, both, columns_).t(), product);
    return regulariser(symmetric_part(product), true);
  }

  // K^T = (lambda I + Xhat^T Q Xhat)^-1 Xhat^T Q, D = E K^T, Q <- (Q - K Xhat^T Q) / lambda. Here
  // Xhat carries 1 / sqrt(B), and lambda 1 / B.
  void recursive_projection(Index l, const Matrix<T>& e, const Matrix<T>& xhat) {
    const Index n = width(l - 1);
    const auto& q = memories_[size(l)];
    const auto product = matrix(square_[0], columns_, n);
    const auto gram = matrix(square_[1], columns_, columns_);
    multiply(d_, xhat.t(), q, product);
    multiply(d_, product, xhat, gram, Part::kLower);
    add_to_diagonal(gram, hn::Set(d_, static_cast<T>(problem_.forgetting) / samples_));
    cholesky(d_, gram);
    solve_lower(d_, gram, product);
    multiply_add(d_, product.t(), product, q, hn::Set(d_, T(-1)), q, Part::kLower);
    forget(q);
    solve_lower_transposed(d_, gram, product);
    move_by_product(l, e, product, hn::Set(d_, T(1)));
  }

  // Q <- Q / lambda where its mean eigenvalue allows, from its lower triangle.
  void forget(const Matrix<T>& q) const {
    const T lambda = static_cast<T>(problem_.forgetting);
    const T limit = std::max(static_cast<T>(problem_.delta), sizeof(T) == 8 ? T(1e6) : T(1e3));
    V trace = hn::Zero(d_);
    for (Index i = 0; i < q.rows; ++i) trace = hn::Add(trace, load(d_, q.at(i, i)));
    const V mean = hn::Mul(trace, hn::Set(d_, T(1) / static_cast<T>(q.rows)));
    const V one = hn::Set(d_, T(1));
    const V scale =
        hn::IfThenElse(hn::Gt(mean, hn::Set(d_, limit * lambda)), one, hn::Set(d_, T(1) / lambda));
    for (Index i = 0; i < q.rows; ++i) {
      for (Index j = 0; j <= i; ++j) {
        const V value = hn::Mul(scale, load(d_, q.at(i, j)));
        hn::Store(value, d_, q.at(i, j));
        hn::Store(value, d_, q.at(j, i));
      }
    }
  }

  // ---- Target alignment -----------------------------------------------------------------------

  // First-order change of the map: sum_l P_l D_l M_{l-1} ... M_1, layer by layer.
  Matrix<T> first_order_change() {
    auto change = matrix(map_change_[0], width(1), width(0));
    copy(direction(1), change);
    auto below = weight(1);
    const V one = hn::Set(d_, T(1));
    for (Index l = 2; l <= depth_; ++l) {
      const auto next = matrix(map_change_[size((l + 1) % 2)], width(l), width(0));
      multiply(d_, weight(l), change, next);
      multiply_add(d_, direction(l), below, next, one, next);
      change = next;
      if (l == depth_) break;
      const auto above = matrix(map_below_[size(l % 2)], width(l), width(0));
      multiply(d_, weight(l), below, above);
      below = above;
    }
    return change;
  }

  // Mean over samples of the cosine between residual and change of the prediction. Samples where
  // either is zero or not finite are left out.
  void record_alignment(std::int64_t step, const StepData<T>& data, const Records<T>& records) {
    const auto x = matrix(full_input_, width(0), data.full_columns);
    const auto r = matrix(full_target_, width(depth_), data.full_columns);
    const auto change = matrix(full_change_, width(depth_), data.full_columns);
    const std::int64_t shared = shared_stream();
    interleave(data.full_input, x, shared);
    interleave(data.full_target, r, shared);
    multiply_add(d_, map_, x, r, hn::Set(d_, T(-1)), r);
    multiply(d_, first_order_change(), x, change);
    V sum = hn::Zero(d_);
    V count = hn::Zero(d_);
    for (Index b = 0; b < data.full_columns; ++b) {
      const V cosine = column_cosine(r.block(0, b, r.rows, 1), change.block(0, b, r.rows, 1));
      const auto counts = hn::Eq(cosine, cosine);
      sum = hn::Add(sum, hn::IfThenElseZero(counts, cosine));
      count = hn::Add(count, hn::IfThenElseZero(counts, hn::Set(d_, T(1))));
    }
    HWY_ALIGN T mean[hn::MaxLanes(D())];
    hn::Store(hn::Div(sum, count), d_, mean);
    for (Index lane = 0; lane < lanes_; ++lane) {
      if (!group_->active[size(lane)]) continue;
      records.alignments[step * records.members + group_->member[size(lane)]] =
          static_cast<double>(mean[lane]);
    }
  }

  V largest_magnitude(const Matrix<T>& column) const {
    V largest = hn::Zero(d_);
    for (Index i = 0; i < column.rows; ++i) {
      largest = hn::Max(largest, hn::Abs(load(d_, column.at(i, 0))));
    }
    return largest;
  }

  // Both columns are divided by their largest entries first, so that no square under- or overflows.
  V column_cosine(const Matrix<T>& a, const Matrix<T>& b) const {
    const V a_scale = hn::Div(hn::Set(d_, T(1)), largest_magnitude(a));
    const V b_scale = hn::Div(hn::Set(d_, T(1)), largest_magnitude(b));
    V ab = hn::Zero(d_);
    V aa = hn::Zero(d_);
    V bb = hn::Zero(d_);
    for (Index i = 0; i < a.rows; ++i) {
      const V u = hn::Mul(a_scale, load(d_, a.at(i, 0)));
      const V v = hn::Mul(b_scale, load(d_, b.at(i, 0)));
      ab = hn::MulAdd(u, v, ab);
      aa = hn::MulAdd(u, u, aa);
      bb = hn::MulAdd(v, v, bb);
    }
    const V cosine = hn::Div(ab, hn::Mul(hn::Sqrt(aa), hn::Sqrt(bb)));
    const V one = hn::Set(d_, T(1));
    const V clamped = hn::Max(hn::Neg(one), hn::Min(one, cosine));
    return hn::IfThenElse(hn::Eq(cosine, cosine), clamped, cosine);
  }

  const Problem& problem_;
  const D d_{};
  const Index lanes_ = static_cast<Index>(hn::Lanes(D()));
  std::vector<Index> n_;
  Index depth_;
  Arena<T> arena_;

  // Of the group and batch at hand.
  Group<T>* group_ = nullptr;
  std::vector<Matrix<T>> weights_;
  std::vector<Matrix<T>> memories_;
  V rate_;
  Index columns_ = 0;
  T samples_ = 1;
  Matrix<T> x_;
  Matrix<T> y_;
  Matrix<T> residual_;  // r = y - yhat; predictive coding turns it into v = S^-1 r
  std::int64_t entered_stream_ = -1;
  std::int64_t entered_step_ = -1;
  V first_denominator_;
  V zeros_;

  // Buffers.
  T* input_ = nullptr;
  T* target_ = nullptr;
  T* residuals_ = nullptr;
  Matrix<T> map_;
  Matrix<T> scaling_;      // S, and its Cholesky factor
  std::vector<T*> chain_;  // per layer: products of weights, and then what is propagated
  std::array<T*, 4> rolling_{};
  std::array<T*, 2> square_{};
  T* thin_ = nullptr;
  T* tau_ = nullptr;
  T* work_ = nullptr;
  std::vector<T*> directions_;
  T* full_input_ = nullptr;
  T* full_target_ = nullptr;
  T* full_change_ = nullptr;
  std::array<T*, 2> map_change_{};
  std::array<T*, 2> map_below_{};
};

}  // namespace pcxx::ensemble::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PCXX_ENSEMBLE_STEPPER_INL_H
