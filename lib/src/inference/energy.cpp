#include <ATen/ATen.h>
#include <pcxx/inference/energy.h>

namespace pcxx::inference {

void Energy::descend(const at::Tensor& step) {
  const auto all = gradients();
  auto to = variables();
  for (std::size_t l = 0; l < to.size(); ++l) to[l].addcmul_(all[l], step.unsqueeze(-1), -1);
}

}  // namespace pcxx::inference
