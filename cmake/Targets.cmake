# Warnings, sanitizers, coverage and the shared precompiled header, for our own targets only.

add_library(pcxx_warnings INTERFACE)
target_compile_options(pcxx_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow
  $<$<BOOL:${PCXX_WERROR}>:-Werror>)

add_library(pcxx_sanitize INTERFACE)
if(PCXX_SANITIZE)
  # Undefined behaviour ends the program as a wrong address does: a line on stderr fails no test.
  target_compile_options(pcxx_sanitize INTERFACE -fsanitize=${PCXX_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(pcxx_sanitize INTERFACE -fsanitize=${PCXX_SANITIZE})
endif()
if(PCXX_COVERAGE)
  target_compile_options(pcxx_sanitize INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(pcxx_sanitize INTERFACE --coverage)
endif()

# LibTorch's folder comes first in the rpath, or the loader may take another version of it.
set(CMAKE_BUILD_RPATH ${PCXX_TORCH_LIB})

# A program: warnings, the library, and the library's precompiled header.
function(pcxx_add_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE pcxx::pcxx pcxx_warnings pcxx_sanitize)
  # As the library is compiled: a precompiled header serves one setting only.
  target_compile_options(${name} PRIVATE -fPIC)
  target_precompile_headers(${name} REUSE_FROM pcxx_pch)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()
