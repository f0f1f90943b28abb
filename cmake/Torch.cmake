# LibTorch, looked for in this order: Torch_DIR / CMAKE_PREFIX_PATH, the project's own virtual
# environment (.venv), the Python on PATH. Debian's libtorch-dev (1.13) is too old and never taken.

set(PCXX_TORCH_MINIMUM 2.4)

# Folder of TorchConfig.cmake's prefix as the given Python knows it; empty when it has no torch.
function(pcxx_torch_prefix_of python result)
  execute_process(
    COMMAND ${python} -c "import torch.utils; print(torch.utils.cmake_prefix_path)"
    OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    set(prefix "")
  endif()
  set(${result} "${prefix}" PARENT_SCOPE)
endfunction()

if(NOT Torch_DIR)
  find_path(_torch_given TorchConfig.cmake
    PATHS ${CMAKE_PREFIX_PATH} PATH_SUFFIXES Torch share/cmake/Torch NO_DEFAULT_PATH NO_CACHE)
  if(_torch_given)
    set(Torch_DIR ${_torch_given})
  else()
    foreach(_python IN ITEMS ${PROJECT_SOURCE_DIR}/.venv/bin/python python3)
      pcxx_torch_prefix_of(${_python} _prefix)
      if(_prefix)
        set(Torch_DIR ${_prefix}/Torch)
        break()
      endif()
    endforeach()
  endif()
endif()

set(_torch_help "LibTorch ${PCXX_TORCH_MINIMUM} or later was not found. Any one of these gives it:
  scripts/setup.sh
  python3 -m venv .venv && .venv/bin/pip install torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu
  cmake -B build -DTorch_DIR=/path/to/libtorch/share/cmake/Torch")

if(NOT Torch_DIR)
  message(FATAL_ERROR "${_torch_help}")
endif()

# TorchConfig asks for Caffe2 without NO_DEFAULT_PATH: name the sibling, or Debian's 1.13 is taken.
set(Caffe2_DIR ${Torch_DIR}/../Caffe2)
find_package(Torch REQUIRED CONFIG PATHS ${Torch_DIR} NO_DEFAULT_PATH)
if(Torch_VERSION VERSION_LESS PCXX_TORCH_MINIMUM)
  message(FATAL_ERROR "LibTorch ${Torch_VERSION} in ${Torch_DIR} is too old.\n${_torch_help}")
endif()

get_filename_component(PCXX_TORCH_ROOT ${Torch_DIR}/../../.. ABSOLUTE)
set(PCXX_TORCH_LIB ${PCXX_TORCH_ROOT}/lib)
message(STATUS "LibTorch ${Torch_VERSION}: ${PCXX_TORCH_ROOT}")
