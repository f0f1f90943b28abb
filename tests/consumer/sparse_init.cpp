// init = "sparse": every unit starts with a few inputs (Martens 2010), drawn from N(0, 1/k); its
// other weights are 0.

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>

#include <algorithm>
#include <cmath>

#include "lab.h"

namespace {

using namespace pcxx;

at::Tensor draw(std::int64_t n_out, std::int64_t n_in, std::int64_t k,
                const at::Generator& generator) {
  k = std::min(k, n_in);
  const auto places = std::get<1>(at::rand({n_out, n_in}, generator, at::kDouble).topk(k, 1));
  const auto values = at::randn({n_out, k}, generator, at::kDouble);
  return at::zeros({n_out, n_in}, at::kDouble)
      .scatter_(1, places, values / std::sqrt(static_cast<double>(k)));
}

}  // namespace

void add_sparse_init() {
  catalog::add_init({.name = "sparse",
                     .doc = "a few inputs a unit, N(0, 1/k)",
                     .keys = {{.name = "sparse_inputs",
                               .kind = config::Kind::kInteger,
                               .initial = "15",
                               .doc = "k, the inputs that every unit of init = \"sparse\" has",
                               .shape = config::Shape::kSweep,
                               .minimum = 1}}},
                    [](const config::Config& config) -> nn::DrawWeight {
                      const auto k = config.integer("sparse_inputs");
                      return [k](std::int64_t n_out, std::int64_t n_in,
                                 const at::Generator& generator) {
                        return draw(n_out, n_in, k, generator);
                      };
                    });
}
