#pragma once

#include <filesystem>

namespace pcxx {

/// The folder that holds `plots/` and `configs/`, the first of these:
///
///   1. PCXX_SHARE of the environment;
///   2. `../share/pcxx` beside the folder of libpcxx.so (with a static library: of the program), so
///      that an installed tree may be moved;
///   3. the source tree of the build.
std::filesystem::path share_folder();

}  // namespace pcxx
