#pragma once

#include <string>

namespace pcxx::run {

/// The commit that this library was built from; empty outside a checkout.
std::string git_commit();

}  // namespace pcxx::run
