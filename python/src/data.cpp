#include "data.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/data/image_dataset.h>

#include "tensor.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

std::string shape_of(const at::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes(), ", "));
}

bool is_label(const at::Tensor& target) {
  return target.dim() == 1 && at::isIntegralType(target.scalar_type(), false);
}

void check(const at::Tensor& tensor, const char* name) {
  if (tensor.requires_grad()) {
    user_error("{} asks for a gradient, which would be lost: give {}.detach()", name, name);
  }
  if (tensor.layout() != at::kStrided || tensor.is_quantized() || tensor.device().is_meta()) {
    user_error("{} is no dense tensor of numbers in memory", name);
  }
  if (at::isComplexType(tensor.scalar_type())) user_error("{} is complex", name);
}

// Labels as rows with one 1.
at::Tensor one_hot(const at::Tensor& labels, const nn::NetworkImpl& network) {
  auto rows = at::zeros({labels.size(0), network.out_features()}, network.tensor_options());
  return rows.scatter_(1, labels.to(rows.device()).unsqueeze(1), 1);
}

at::Tensor targets_of(const at::Tensor& target, const nn::NetworkImpl& network) {
  return is_label(target) ? one_hot(target, network) : values_of(target, network);
}

at::Tensor checked_targets(nb::handle y, const nn::NetworkImpl& network) {
  auto target = tensor_of(y, "y");
  if (is_label(target)) return labels_of(y, network);
  if (target.dim() != 2 || target.size(1) != network.out_features()) {
    user_error("y is {}, and the network has outputs [N, {}] or labels int64 [N]", shape_of(target),
               network.out_features());
  }
  return target;
}

}  // namespace

at::Tensor tensor_of(nb::handle source, const char* name) {
  auto given = nb::borrow(source);
  if (!THPVariable_Check(given.ptr())) {
    given = nb::module_::import_("pcxx._torch").attr("tensor_of")(given, name);
  }
  auto tensor = nb::cast<at::Tensor>(given);
  check(tensor, name);
  return tensor;
}

at::Tensor inputs_of(nb::handle x, const nn::NetworkImpl& network) {
  auto input = tensor_of(x, "x");
  if (input.dim() > 2) input = input.flatten(1);
  if (input.dim() != 2 || input.size(1) != network.in_features()) {
    user_error("x is {}, and the network has inputs [N, {}]", shape_of(input),
               network.in_features());
  }
  if (input.size(0) == 0) user_error("x has no samples: it is {}", shape_of(input));
  return input;
}

at::Tensor labels_of(nb::handle y, const nn::NetworkImpl& network) {
  auto labels = tensor_of(y, "y");
  if (!is_label(labels)) user_error("y is {}, and not labels int64 [N]", shape_of(labels));
  labels = labels.to(at::kLong);
  const auto count = network.out_features();
  if (labels.numel() > 0 && (labels.lt(0) | labels.ge(count)).any().item<bool>()) {
    user_error("y has labels from {} to {}, and the network has {} outputs",
               labels.min().item<std::int64_t>(), labels.max().item<std::int64_t>(), count);
  }
  return labels;
}

Samples samples_of(nb::handle x, nb::handle y, const nn::NetworkImpl& network) {
  Samples samples{inputs_of(x, network), checked_targets(y, network)};
  if (samples.target.size(0) == samples.size()) return samples;
  user_error("x has {} samples, and y has {}", samples.size(), samples.target.size(0));
}

at::Tensor values_of(const at::Tensor& data, const nn::NetworkImpl& network) {
  return data::Images{.pixels = data, .labels = {}}.values(network.tensor_options());
}

data::Batch Samples::batch(const nn::NetworkImpl& network) const {
  return {values_of(input, network), targets_of(target, network)};
}

data::Batch Samples::batch(const nn::NetworkImpl& network, const at::Tensor& index) const {
  return Samples{input.index_select(0, index.to(input.device())),
                 target.index_select(0, index.to(target.device()))}
      .batch(network);
}

}  // namespace pcxx::python
