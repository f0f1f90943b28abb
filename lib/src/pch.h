#pragma once

// Far less than torch/torch.h, whose templates every source would instantiate again: 9 rather than
// 22 s each.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/nn/cloneable.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>
