#pragma once

#include <c10/core/Device.h>

#include <nlohmann/json.hpp>
#include <string>

namespace pcxx::train {

/// That was checked out when the library was built; empty where none was.
std::string git_commit();

/// What a result depends on beside its config: version, commit, LibTorch, compiler, machine, date.
/// What is not known is left out.
nlohmann::ordered_json environment(const std::string& program, c10::Device device);

}  // namespace pcxx::train
