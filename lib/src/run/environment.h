#pragma once

#include <c10/core/Device.h>

#include <nlohmann/json.hpp>
#include <string>

namespace pcxx::run {

/// What a result depends on beside its config: version, commit, LibTorch, compiler, machine, date.
/// What is not known is left out.
nlohmann::ordered_json environment(const std::string& program, c10::Device device);

}  // namespace pcxx::run
