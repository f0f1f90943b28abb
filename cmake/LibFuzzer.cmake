# fuzz_formats: the readers of all formats under libFuzzer and the sanitizers, whatever compiler the
# build has. Clang compiles only what reads (tests/fuzz/formats.cpp); the library has the rest.
if(NOT PCXX_SHARED)
  message(FATAL_ERROR "PCXX_FUZZ needs PCXX_SHARED: its definitions come before those of the library")
endif()
find_program(PCXX_CLANG NAMES clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14
  REQUIRED DOC "Clang with libFuzzer, for PCXX_FUZZ")

set(_directories "$<TARGET_PROPERTY:pcxx,INCLUDE_DIRECTORIES>;$<TARGET_PROPERTY:fuzz_test,INCLUDE_DIRECTORIES>")
set(_directories "$<FILTER:$<REMOVE_DUPLICATES:${_directories}>,EXCLUDE,^/usr/include$>")
set(_toml "")
if(PCXX_TOML STREQUAL tomlplusplus::tomlplusplus)
  set(_toml $<TARGET_LINKER_FILE:tomlplusplus::tomlplusplus>)
endif()
set(_sources "")
foreach(source IN ITEMS formats targets libfuzzer)
  list(APPEND _sources ${PROJECT_SOURCE_DIR}/tests/fuzz/${source}.cpp)
endforeach()
set(_program ${PROJECT_BINARY_DIR}/bin/fuzz_formats)
add_custom_command(OUTPUT ${_program}
  COMMAND ${PCXX_CLANG} -std=c++20 -O1 -g1 -fsanitize=fuzzer,address,undefined -fno-sanitize=vptr
    -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<TARGET_PROPERTY:tomlplusplus::tomlplusplus,INTERFACE_COMPILE_OPTIONS>
    "-D$<JOIN:$<TARGET_PROPERTY:pcxx,COMPILE_DEFINITIONS>,;-D>" "-isystem$<JOIN:${_directories},;-isystem>"
    ${_sources} -o ${_program} $<TARGET_LINKER_FILE:pcxx> $<TARGET_FILE:GTest::gtest> ${_toml}
    $<TARGET_LINKER_FILE:ZLIB::ZLIB> -L${PCXX_TORCH_LIB} -Wl,--no-as-needed -ltorch -ltorch_cpu -lc10
    "-Wl,-rpath,${PCXX_TORCH_LIB}:$<TARGET_FILE_DIR:pcxx>"
  DEPENDS pcxx ${_sources}
  COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(fuzz_formats DEPENDS ${_program})
