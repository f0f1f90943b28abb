#pragma once

#include <pcxx/config/config.h>

#include <cstdint>
#include <string_view>
#include <vector>

/// What no machine holds is refused in one sentence before it is asked for.
namespace pcxx::catalog {

/// Throws UserError where `count` numbers, of `what`, are too many.
void check_numbers(double count, std::string_view what);

/// So many weights of layers of these widths, and samples in batches of the config's sizes.
void check_network(const config::Config& config, const std::vector<std::int64_t>& widths,
                   double weights);

/// Curves of all rates and seeds of a model, with a value a step.
void check_curves(const config::Config& model);

}  // namespace pcxx::catalog
