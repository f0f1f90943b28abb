# examples/ builds as a project of its own on the moved tree, and its programs end well.
# Oracles: what each program checks of itself, and how many there are.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
fresh_folder(${WORK})
configure(text ${SOURCE}/examples ${WORK}/build -Dpcxx_ROOT=${PREFIX})
run(text ${WORK} ${CMAKE_COMMAND} --build ${WORK}/build --parallel 2)
run(text ${WORK} ${CMAKE_CTEST_COMMAND} --test-dir ${WORK}/build --output-on-failure)
file(GLOB sources ${SOURCE}/examples/*.cpp)
list(LENGTH sources count)
# CMake 4 leaves out "0 tests failed".
if(NOT text MATCHES "100% tests passed[^\n]* out of ${count}\n")
  message(FATAL_ERROR "not all of ${count} examples passed:\n${text}")
endif()
