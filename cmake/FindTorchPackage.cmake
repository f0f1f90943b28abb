# Where LibTorch's TorchConfig.cmake is: sets PCXX_TORCH_CONFIG_DIR, or leaves it empty, with the
# reasons in PCXX_TORCH_REJECTED. Looked for in this order:
#   1. Torch_DIR, then CMAKE_PREFIX_PATH, each as a variable and in the environment;
#   2. PCXX_TORCH_HINTS: where the installed package of pcxx has the LibTorch that it was built with;
#   3. the Python package torch: of Python_EXECUTABLE where that is given, as it is in the build of a
#      wheel, then the project's own environment (.venv), then python3 on PATH.
# PCXX_TORCH_SERIES, such as 2.13, refuses all others: LibTorch's binary interface changes with each.
# Works without a project too: `cmake -P cmake/FindTorchPackage.cmake` prints the folder, and fails
# when there is none. scripts/setup.sh asks that way, so both follow one rule.

set(PCXX_TORCH_MINIMUM 2.4)
set(PCXX_TORCH_REJECTED "")

# Why the package in `dir` cannot be used, or an empty text.
function(pcxx_torch_fault dir result)
  set(fault "")
  if(NOT EXISTS "${dir}/TorchConfig.cmake")
    set(fault "${dir} has no TorchConfig.cmake")
  elseif(EXISTS "${dir}/TorchConfigVersion.cmake")
    file(STRINGS "${dir}/TorchConfigVersion.cmake" version REGEX "set\\(PACKAGE_VERSION ")
    string(REGEX REPLACE ".*\"([0-9.]+).*" "\\1" version "${version}")
    if(version VERSION_LESS PCXX_TORCH_MINIMUM)
      set(fault "${dir} is LibTorch ${version}, older than ${PCXX_TORCH_MINIMUM}")
    endif()
    string(REGEX MATCH "^[0-9]+[.][0-9]+" series "${version}")
    if(PCXX_TORCH_SERIES AND NOT series STREQUAL PCXX_TORCH_SERIES)
      set(fault "${dir} is LibTorch ${version}, and not ${PCXX_TORCH_SERIES}")
    endif()
  endif()
  # The CMake package of a CUDA build enables the CUDA language, even for a C++ program.
  if(NOT fault AND EXISTS "${dir}/../../../lib/libtorch_cuda.so")
    find_program(nvcc nvcc NO_CACHE
      HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
    if(NOT nvcc AND NOT CMAKE_CUDA_COMPILER)
      set(fault "${dir} is a CUDA build, and there is no CUDA toolkit (nvcc) on this machine")
    endif()
  endif()
  set(${result} "${fault}" PARENT_SCOPE)
endfunction()

# The package of the torch that `python` would import, found without importing it.
function(pcxx_torch_of_python python result)
  execute_process(
    COMMAND ${python} -c
      "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE package OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET RESULT_VARIABLE status)
  set(${result} "" PARENT_SCOPE)
  if(status EQUAL 0)
    set(${result} "${package}/share/cmake/Torch" PARENT_SCOPE)
  endif()
endfunction()

function(pcxx_find_torch_package)
  set(candidates "")
  foreach(dir IN ITEMS "${Torch_DIR}" "$ENV{Torch_DIR}")
    if(dir)
      list(APPEND candidates "${dir}")
    endif()
  endforeach()
  find_path(given TorchConfig.cmake NO_CACHE NO_DEFAULT_PATH
    PATHS ${CMAKE_PREFIX_PATH} ENV CMAKE_PREFIX_PATH
    PATH_SUFFIXES Torch share/cmake/Torch)
  if(given)
    list(APPEND candidates "${given}")
  endif()
  list(APPEND candidates ${PCXX_TORCH_HINTS})
  foreach(python IN ITEMS ${Python_EXECUTABLE} "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../.venv/bin/python" python3)
    pcxx_torch_of_python("${python}" dir)
    if(dir)
      list(APPEND candidates "${dir}")
    endif()
  endforeach()

  set(rejected "")
  set(chosen "")
  foreach(dir IN LISTS candidates)
    pcxx_torch_fault("${dir}" fault)
    if(NOT fault)
      get_filename_component(chosen "${dir}" ABSOLUTE)
      break()
    endif()
    list(APPEND rejected "${fault}")
  endforeach()
  set(PCXX_TORCH_CONFIG_DIR "${chosen}" PARENT_SCOPE)
  set(PCXX_TORCH_REJECTED "${rejected}" PARENT_SCOPE)
endfunction()

pcxx_find_torch_package()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  if(NOT PCXX_TORCH_CONFIG_DIR)
    list(JOIN PCXX_TORCH_REJECTED ";\n  " reasons)
    message(FATAL_ERROR "No usable LibTorch. ${reasons}")
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${PCXX_TORCH_CONFIG_DIR}")
endif()
