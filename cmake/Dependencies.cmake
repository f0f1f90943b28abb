# Debian and Ubuntu packages first; a release archive where there is no package.
include(FetchContent)

set(FETCHCONTENT_QUIET ON)
set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # what is downloaded takes its options from here
set(CMAKE_POLICY_DEFAULT_CMP0126 NEW)
# What is downloaded and seen by users of the library is installed with it.
set(FMT_INSTALL ${PCXX_INSTALL})
set(JSON_Install ${PCXX_INSTALL})
find_package(ZLIB REQUIRED)
find_package(Threads REQUIRED)

FetchContent_Declare(fmt
  URL https://github.com/fmtlib/fmt/archive/refs/tags/10.2.1.tar.gz
  FIND_PACKAGE_ARGS NAMES fmt)
FetchContent_Declare(tomlplusplus
  URL https://github.com/marzer/tomlplusplus/archive/refs/tags/v3.4.0.tar.gz
  FIND_PACKAGE_ARGS NAMES tomlplusplus)
FetchContent_Declare(nlohmann_json
  URL https://github.com/nlohmann/json/archive/refs/tags/v3.11.3.tar.gz
  FIND_PACKAGE_ARGS NAMES nlohmann_json)
FetchContent_Declare(hwy
  URL https://github.com/google/highway/archive/refs/tags/1.2.0.tar.gz
  FIND_PACKAGE_ARGS NAMES hwy)
FetchContent_MakeAvailable(fmt tomlplusplus nlohmann_json)
# Shared where the library is: its choice of instructions, which tests change, exists once.
function(pcxx_make_highway_available)
  set(BUILD_SHARED_LIBS ${PCXX_SHARED})
  set(HWY_ENABLE_TESTS OFF)
  set(HWY_ENABLE_EXAMPLES OFF)
  set(HWY_ENABLE_INSTALL ${PCXX_INSTALL})
  FetchContent_MakeAvailable(hwy)
endfunction()
pcxx_make_highway_available()
if(TARGET hwy AND NOT TARGET hwy::hwy)
  add_library(hwy::hwy ALIAS hwy)
endif()

# Debian compiles toml++; elsewhere it is headers, which leave nothing to link with.
set(PCXX_TOML tomlplusplus::tomlplusplus)
get_target_property(_toml_type tomlplusplus::tomlplusplus TYPE)
if(_toml_type STREQUAL INTERFACE_LIBRARY)
  set(PCXX_TOML $<BUILD_INTERFACE:tomlplusplus::tomlplusplus>)
endif()

# cxxopts is one header; Debian ships it without a CMake package.
find_path(PCXX_CXXOPTS_INCLUDE cxxopts.hpp)
add_library(pcxx_cxxopts INTERFACE)
if(PCXX_CXXOPTS_INCLUDE)
  target_include_directories(pcxx_cxxopts SYSTEM INTERFACE ${PCXX_CXXOPTS_INCLUDE})
else()
  FetchContent_Declare(cxxopts URL https://github.com/jarro2783/cxxopts/archive/refs/tags/v3.1.1.tar.gz)
  FetchContent_MakeAvailable(cxxopts)
  target_link_libraries(pcxx_cxxopts INTERFACE cxxopts::cxxopts)
endif()
# List options are repeated, never split at commas: a TOML list holds commas of its own.
target_compile_definitions(pcxx_cxxopts INTERFACE "CXXOPTS_VECTOR_DELIMITER='\\x1f'")

if(PCXX_BUILD_TESTS)
  FetchContent_Declare(googletest
    URL https://github.com/google/googletest/archive/refs/tags/v1.14.0.tar.gz
    FIND_PACKAGE_ARGS NAMES GTest)
  FetchContent_MakeAvailable(googletest)
endif()
if(PCXX_BUILD_BENCHMARKS)
  set(BENCHMARK_ENABLE_TESTING OFF)
  FetchContent_Declare(benchmark
    URL https://github.com/google/benchmark/archive/refs/tags/v1.8.4.tar.gz
    FIND_PACKAGE_ARGS NAMES benchmark)
  FetchContent_MakeAvailable(benchmark)
endif()
