# How our own targets are compiled, and where they look for libraries.
include(GNUInstallDirs)

# LibTorch's folder comes first in the rpath, or the loader may take another version of it.
set(CMAKE_BUILD_RPATH ${PCXX_TORCH_LIB})
# Installed, everything is found from where the file itself is: the tree may be moved.
file(RELATIVE_PATH _libraries "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
set(PCXX_PROGRAM_RPATH "$ORIGIN/${_libraries}" ${PCXX_TORCH_LIB})
set(PCXX_LIBRARY_RPATH "$ORIGIN" ${PCXX_TORCH_LIB})
if(SKBUILD)  # in a wheel the package torch lies beside pcxx
  set(PCXX_PROGRAM_RPATH "$ORIGIN/${_libraries}" "$ORIGIN/${_libraries}/../torch/lib")
  set(PCXX_LIBRARY_RPATH "$ORIGIN/../torch/lib")
endif()

# Flags, the same for all: a precompiled header serves one setting only.
function(pcxx_set_flags name)
  target_compile_options(${name} PRIVATE -fPIC -Wall -Wextra -Wpedantic -Wshadow)
  if(PCXX_WERROR)
    target_compile_options(${name} PRIVATE -Werror)
  endif()
  if(PCXX_SANITIZE)
    # Undefined behaviour ends the program as a wrong address does: a line on stderr fails no test.
    # What they insert, GCC takes for reads of variables that nothing has set.
    target_compile_options(${name} PRIVATE -fsanitize=${PCXX_SANITIZE} -fno-sanitize-recover=all
      -fno-omit-frame-pointer $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    target_link_options(${name} PRIVATE -fsanitize=${PCXX_SANITIZE})
  endif()
  if(PCXX_COVERAGE)
    target_compile_options(${name} PRIVATE --coverage -fprofile-update=atomic)
    target_link_options(${name} PRIVATE --coverage)
  endif()
endfunction()

# As the library is compiled: its flags and its precompiled header.
function(pcxx_compile_as_library name)
  pcxx_set_flags(${name})
  set_target_properties(${name} PROPERTIES UNITY_BUILD ${PCXX_UNITY} UNITY_BUILD_BATCH_SIZE 10)
  target_precompile_headers(${name} REUSE_FROM pcxx_pch)
endfunction()

# A program on the library.
function(pcxx_add_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE pcxx::pcxx)
  pcxx_compile_as_library(${name})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin INSTALL_RPATH "${PCXX_PROGRAM_RPATH}")
endfunction()
