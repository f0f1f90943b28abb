// data::compress with one stream a lane: included once per instruction set by kernels.cpp.
#if defined(PCXX_ENSEMBLE_COMPRESS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef PCXX_ENSEMBLE_COMPRESS_INL_H
#undef PCXX_ENSEMBLE_COMPRESS_INL_H
#else
#define PCXX_ENSEMBLE_COMPRESS_INL_H
#endif

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <limits>

#include "ensemble/block.h"
#include "ensemble/linalg-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pcxx::ensemble::HWY_NAMESPACE {

class Compression {
  using D = hn::ScalableTag<double>;

 public:
  explicit Compression(const Samples& samples)
      : s_(samples),
        columns_(samples.rows),
        vectors_((samples.streams + lanes_ - 1) / lanes_),
        size_(footprint(s_.rows, features(), lanes_)),
        data_(hwy::AllocateAligned<double>(static_cast<std::size_t>(vectors_ * size_))),
        tau_(hwy::AllocateAligned<double>(static_cast<std::size_t>(features() * lanes_))) {}

  Index reduce() {
    for (Index v = 0; v < vectors_; ++v) interleave(v);
    if (s_.rows <= s_.inputs) return columns_;
    bool explained = true;
    for (Index v = 0; v < vectors_; ++v) {
      factorise_columns(d_, pair(v), 0, s_.inputs, tau_.get());
      explained = targets_follow_inputs(pair(v)) && explained;
    }
    if (explained) return columns_ = factored_ = s_.inputs;
    if (s_.rows > features()) {
      for (Index v = 0; v < vectors_; ++v) {
        factorise_columns(d_, pair(v), s_.inputs, features(), tau_.get());
      }
      return columns_ = factored_ = features();
    }
    for (Index v = 0; v < vectors_; ++v) interleave(v);
    return columns_;
  }

  // Features first .. first + count - 1 of all streams as [S][count][columns].
  void write(Index first, Index count, double* out) const {
    for (Index stream = 0; stream < s_.streams; ++stream) {
      const auto from = pair(stream / lanes_);
      for (Index i = first; i < first + count; ++i) {
        for (Index c = 0; c < columns_; ++c) {
          const double value = from.at(c, i)[stream % lanes_];
          const bool factored = i < factored_;
          *out++ = !factored || c < i ? value : c == i ? 1 / value : 0.0;
        }
      }
    }
  }

 private:
  Index features() const { return s_.inputs + s_.outputs; }
  // [x y] of a vector of streams.
  Matrix<double> pair(Index v) const {
    return matrix_at(data_.get() + v * size_, s_.rows, features(), lanes_);
  }

  void interleave(Index v) const {
    const auto out = pair(v);
    for (Index lane = 0; lane < lanes_; ++lane) {
      const Index stream = std::min(v * lanes_ + lane, s_.streams - 1);
      const double* x = s_.input + stream * s_.rows * s_.inputs;
      const double* y = s_.target + stream * s_.rows * s_.outputs;
      for (Index b = 0; b < s_.rows; ++b) {
        for (Index i = 0; i < s_.inputs; ++i) out.at(b, i)[lane] = *x++;
        for (Index i = 0; i < s_.outputs; ++i) out.at(b, s_.inputs + i)[lane] = *y++;
      }
    }
  }

  // Whether the reflections of the inputs have left nothing but rounding below them in the targets.
  bool targets_follow_inputs(const Matrix<double>& reduced) const {
    auto total = hn::Zero(d_);
    auto left_over = hn::Zero(d_);
    for (Index b = 0; b < s_.rows; ++b) {
      for (Index i = s_.inputs; i < features(); ++i) {
        const auto y = load(d_, reduced.at(b, i));
        total = hn::MulAdd(y, y, total);
        if (b >= s_.inputs) left_over = hn::MulAdd(y, y, left_over);
      }
    }
    const double tolerance = static_cast<double>(std::max<Index>(s_.rows, features())) *
                             std::numeric_limits<double>::epsilon();
    const auto bound = hn::Mul(hn::Set(d_, tolerance * tolerance), total);
    return hn::AllTrue(d_, hn::Le(left_over, bound));
  }

  const D d_{};
  const Index lanes_ = static_cast<Index>(hn::Lanes(D()));
  const Samples s_;
  Index columns_;
  Index factored_ = 0;  // features whose columns have been reduced to a triangle
  Index vectors_;
  Index size_;
  hwy::AlignedFreeUniquePtr<double[]> data_;
  hwy::AlignedFreeUniquePtr<double[]> tau_;
};

}  // namespace pcxx::ensemble::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PCXX_ENSEMBLE_COMPRESS_INL_H
