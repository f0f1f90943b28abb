option(PCXX_BUILD_APPS "Build the command-line programs" ${PROJECT_IS_TOP_LEVEL})
option(PCXX_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(PCXX_BUILD_EXAMPLES "Build the programs of examples/" ${PCXX_BUILD_TESTS})
option(PCXX_BUILD_BENCHMARKS "Build the benchmarks (needs Google Benchmark)" OFF)
option(PCXX_SHARED "Build libpcxx.so rather than libpcxx.a" ON)
option(PCXX_INSTALL "Install the library, the programs and a CMake package" ${PROJECT_IS_TOP_LEVEL})
option(PCXX_BUNDLE_TORCH "Install LibTorch's shared libraries too" OFF)
option(PCXX_WERROR "Treat warnings in our own targets as errors" ${PROJECT_IS_TOP_LEVEL})
option(PCXX_UNITY "Compile groups of ten sources as one: faster from scratch, slower after a change" OFF)
option(PCXX_COVERAGE "Count which lines of our own targets run" OFF)
set(PCXX_MPI AUTO CACHE STRING "Train one network on several ranks of MPI: ON, OFF, or AUTO, where there is MPI")
set(PCXX_PYTHON AUTO CACHE STRING
  "Build the Python package's extension: ON, OFF, or AUTO, where the Python that has LibTorch has nanobind")
option(PCXX_FUZZ "Build fuzz_formats, a program of libFuzzer (needs Clang and PCXX_SHARED)" OFF)
set(PCXX_SANITIZE "" CACHE STRING "Sanitizers for our own targets, for example address,undefined")

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(PCXX_CCACHE ccache)
if(PCXX_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # A precompiled header is cached only when its time stamp and macros are left out of the key.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_INODECACHE=1)
  if(NOT DEFINED ENV{CCACHE_BASEDIR})  # a second build folder, as that of a wheel, takes what the first has
    list(APPEND CMAKE_CXX_COMPILER_LAUNCHER CCACHE_BASEDIR=${PROJECT_SOURCE_DIR})
  endif()
  list(APPEND CMAKE_CXX_COMPILER_LAUNCHER ${PCXX_CCACHE})
endif()
