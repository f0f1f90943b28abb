# LibTorch for the build: the target pcxx::torch, and PCXX_TORCH_LIB, the folder of its libraries.

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

# Inside another project, that project's targets are linked with it too.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
include(${CMAKE_CURRENT_LIST_DIR}/ImportTorch.cmake)
unset(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL)
message(STATUS "LibTorch ${Torch_VERSION}: ${PCXX_TORCH_LIB}")
