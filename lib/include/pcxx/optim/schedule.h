#pragma once

#include <cstdint>
#include <functional>

/// How a learning rate changes while a network learns.
namespace pcxx::optim {

/// What the rate is multiplied by at update `step` of `steps`, of which the first is 0.
using Schedule = std::function<double(std::int64_t step, std::int64_t steps)>;

}  // namespace pcxx::optim
