#include "linalg/positive_solve.h"

#include <ATen/ATen.h>
#include <pcxx/linalg/products.h>

#include <limits>
#include <vector>

namespace pcxx::linalg {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

at::Tensor solve_whole(const at::Tensor& s, const at::Tensor& r) {
  const auto [factor, info] = at::linalg_cholesky_ex(s);
  auto v = at::linalg_solve_triangular(factor, r.mT(), /*upper=*/false);
  v = at::linalg_solve_triangular(factor.mT(), v, /*upper=*/true).mT();
  const auto failed = info.ne(0);
  if (!failed.any().item<bool>()) return v;
  return v.masked_fill(failed.unsqueeze(-1).unsqueeze(-1), kNaN);
}

// The rows [S; r] become [L; r L^-T] in one left-looking pass over block columns, so that nearly
// all of the work is in matrix products, which LAPACK's own factorisation and solves do not reach.
// Keeps the inverses of L's diagonal blocks.
class BlockedCholesky {
 public:
  BlockedCholesky(const at::Tensor& s, const at::Tensor& r)
      : n_(s.size(0)), rows_(at::cat({s, r})), identity_(at::eye(kBlock, s.options())) {}

  // False when S is not positive definite.
  bool factorise() {
    for (std::int64_t begin = 0; begin < n_; begin += kBlock) {
      const auto end = std::min(n_, begin + kBlock);
      auto panel = block(begin, rows_.size(0), begin, end);
      if (begin > 0) {
        product_out(panel, block(begin, rows_.size(0), 0, begin), block(begin, end, 0, begin).t(),
                    -1, 1);
      }
      const auto [factor, info] = at::linalg_cholesky_ex(block(begin, end, begin, end));
      if (info.item<int>() != 0) return false;
      const auto unit = identity_.narrow(1, 0, end - begin).narrow(0, 0, end - begin);
      inverses_.push_back(at::linalg_solve_triangular(factor, unit, /*upper=*/false));
      auto below = block(end, rows_.size(0), begin, end);
      below.copy_(product(below, inverses_.back().t()));
    }
    return true;
  }

  // v = (r L^-T) L^-1, from the last block to the first.
  at::Tensor substitute_back() {
    for (auto i = static_cast<std::int64_t>(inverses_.size()) - 1; i >= 0; --i) {
      const auto begin = i * kBlock;
      const auto end = std::min(n_, begin + kBlock);
      auto solved = block(n_, rows_.size(0), begin, end);
      solved.copy_(product(solved, inverses_[static_cast<std::size_t>(i)]));
      if (begin == 0) break;
      auto rest = block(n_, rows_.size(0), 0, begin);
      product_out(rest, solved, block(begin, end, 0, begin), -1, 1);
    }
    return rows_.slice(0, n_);
  }

 private:
  at::Tensor block(std::int64_t top, std::int64_t bottom, std::int64_t left,
                   std::int64_t right) const {
    return rows_.slice(0, top, bottom).slice(1, left, right);
  }

  std::int64_t n_;
  at::Tensor rows_;
  at::Tensor identity_;
  std::vector<at::Tensor> inverses_;
};

}  // namespace

at::Tensor solve_positive(const at::Tensor& s, const at::Tensor& r) {
  if (s.dim() > 2 || s.size(0) < 2 * kBlock || !s.is_cpu()) return solve_whole(s, r);
  BlockedCholesky cholesky(s, r);
  return cholesky.factorise() ? cholesky.substitute_back() : at::full_like(r, kNaN);
}

}  // namespace pcxx::linalg
