#pragma once

#include <nanobind/nanobind.h>
#include <pcxx/data/batch.h>
#include <pcxx/nn/network.h>

#include <cstdint>

/// What Python hands in as data: torch tensors, numpy arrays, or lists of numbers.
namespace pcxx::python {

/// Samples with their targets, checked: inputs [N, n_0] of real numbers or uint8 images, targets
/// [N, n_L] or labels int64 [N].
struct Samples {
  at::Tensor input;
  at::Tensor target;

  std::int64_t size() const { return input.size(0); }
  /// The batch of all samples, or of those at `index` (int64 [B]), as the network takes it.
  data::Batch batch(const nn::NetworkImpl& network) const;
  data::Batch batch(const nn::NetworkImpl& network, const at::Tensor& index) const;
};

/// A tensor of what `source` holds; a tensor itself and a numpy array share their memory. Throws
/// UserError, with the name of the argument, for what has no numbers, is complex or sparse, or asks
/// for a gradient, which would be lost.
at::Tensor tensor_of(nanobind::handle source, const char* name);

/// Inputs [N, n_0] of a network; images [N, .., rows, columns] are made flat. Throws UserError for another shape, and for no samples.
at::Tensor inputs_of(nanobind::handle x, const nn::NetworkImpl& network);
/// Labels int64 [N] of 0 .. n_L - 1.
at::Tensor labels_of(nanobind::handle y, const nn::NetworkImpl& network);
Samples samples_of(nanobind::handle x, nanobind::handle y, const nn::NetworkImpl& network);

/// uint8 pixels as numbers in [0, 1], all others as they are, of the network's dtype and device.
at::Tensor values_of(const at::Tensor& data, const nn::NetworkImpl& network);

}  // namespace pcxx::python
