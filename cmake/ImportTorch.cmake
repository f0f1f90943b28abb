# The LibTorch in PCXX_TORCH_CONFIG_DIR (FindTorchPackage.cmake): the target pcxx::torch, and
# PCXX_TORCH_LIB, the folder of its libraries. For the build and for the installed package.

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

# One name for what to compile and link with, so that nothing exported holds a path of LibTorch.
if(NOT TARGET pcxx::torch)
  add_library(pcxx::torch INTERFACE IMPORTED)
  set_target_properties(pcxx::torch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${TORCH_INCLUDE_DIRS}"
    INTERFACE_LINK_LIBRARIES "${TORCH_LIBRARIES}")
endif()
