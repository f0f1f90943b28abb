#pragma once

#include <string>

namespace pcxx::train {

/// The commit that this library was built from; empty outside a checkout.
std::string git_commit();

}  // namespace pcxx::train
