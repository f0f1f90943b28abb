# LibTorch: PCXX_TORCH_LIB is the folder of its libraries, TORCH_LIBRARIES what to link.

include(${CMAKE_CURRENT_LIST_DIR}/FindTorchPackage.cmake)

list(JOIN PCXX_TORCH_REJECTED "\n  " _torch_rejected)
if(NOT PCXX_TORCH_CONFIG_DIR)
  if(_torch_rejected)
    set(_torch_rejected "\nNot usable:\n  ${_torch_rejected}")
  endif()
  message(FATAL_ERROR "LibTorch ${PCXX_TORCH_MINIMUM} or later was not found. Three commands give it:

  python3 -m venv .venv
  .venv/bin/pip install torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu
  cmake --preset release

or `scripts/setup.sh` in place of the first two. For a LibTorch that is somewhere else:
-DTorch_DIR=/path/to/libtorch/share/cmake/Torch.${_torch_rejected}")
endif()
if(_torch_rejected)
  message(STATUS "LibTorch passed over: ${_torch_rejected}")
endif()

get_filename_component(_torch_root "${PCXX_TORCH_CONFIG_DIR}/../../.." ABSOLUTE)

# TorchConfig.cmake searches the whole system for Caffe2 and for its own libraries, and a
# distribution's older LibTorch (Debian's 1.13) comes first there; two LibTorch in one process abort
# at start. So each search is sent to this package's folder, also after Torch_DIR has changed.
set(Torch_DIR "${PCXX_TORCH_CONFIG_DIR}" CACHE PATH "Folder of TorchConfig.cmake" FORCE)
set(Caffe2_DIR "${PCXX_TORCH_CONFIG_DIR}/../Caffe2" CACHE PATH "Folder of Caffe2Config.cmake" FORCE)
foreach(_library IN ITEMS TORCH_LIBRARY c10_LIBRARY kineto_LIBRARY C10_CUDA_LIBRARY
                          CAFFE2_NVRTC_LIBRARY)
  unset(${_library} CACHE)
endforeach()

set(_torch_library_path "${CMAKE_LIBRARY_PATH}")
set(_torch_log_level "${CMAKE_MESSAGE_LOG_LEVEL}")
set(CMAKE_LIBRARY_PATH "${_torch_root}/lib" ${CMAKE_LIBRARY_PATH})
if(NOT EXISTS "${_torch_root}/lib/libtorch_cuda.so")
  set(CMAKE_MESSAGE_LOG_LEVEL ERROR)  # the CPU package warns of static libraries nobody needs
endif()
find_package(Torch REQUIRED CONFIG PATHS "${PCXX_TORCH_CONFIG_DIR}" NO_DEFAULT_PATH)
set(CMAKE_MESSAGE_LOG_LEVEL "${_torch_log_level}")
set(CMAKE_LIBRARY_PATH "${_torch_library_path}")

get_target_property(_torch_cpu torch_cpu LOCATION)
get_filename_component(PCXX_TORCH_LIB "${_torch_cpu}" DIRECTORY)
message(STATUS "LibTorch ${Torch_VERSION}: ${PCXX_TORCH_LIB}")
