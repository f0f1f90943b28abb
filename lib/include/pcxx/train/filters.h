#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/nn/network.h>
#include <pcxx/run/run.h>
#include <pcxx/train/image_training.h>

#include <cstdint>
#include <vector>

namespace pcxx::train {

/// At most so many filters of a network are drawn.
inline constexpr std::int64_t kMostFilters = 64;

/// What the first weight of a network looks for, also where it stands inside a block or group, as
/// one picture [height, width] of uint8: a grid of the filters of its first units, with white lines
/// between. A Dense layer's filter is a unit's row, as an image of rows x columns where it has as
/// many numbers, else as a square one, else as a line. A convolution's is a channel's kernel, those
/// of several input channels one below the other. Grey is 0, white and black are plus and minus
/// the filter's largest magnitude; small filters are drawn with larger pixels. Undefined
/// where no layer has a weight.
at::Tensor filters(const nn::NetworkImpl& network, std::int64_t rows, std::int64_t columns);

/// filters.png: the filters of each model's first network, one model below the other, whose names
/// the summary has as `filter_models`. Nothing where no model has a network.
void write_filters(run::Run& run, const ImageSets& sets, const std::vector<ImageModel>& results);

}  // namespace pcxx::train
