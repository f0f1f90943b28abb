# A project of its own builds with find_package(pcxx) on the moved tree, and runs.
# Oracles: what the program prints, and how a LibTorch and a version that do not fit are refused.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
fresh_folder(${WORK})
set(project ${CMAKE_CURRENT_LIST_DIR}/consumer)

configure(text ${project} ${WORK}/build -Dpcxx_ROOT=${PREFIX}
  -DWANTED=${VERSION})
run(text ${WORK} ${CMAKE_COMMAND} --build ${WORK}/build)
run(text ${WORK} ${WORK}/build/app)
expect_part("${text}" "pcxx ${VERSION}\n")
expect_part("${text}" "3 digits\n")
expect_part("${text}" "caught: cannot read '/nowhere'")
expect_part("${text}" "pcxx-regression\n")
if(SHARED)
  expect_part("${text}" "share: ${PREFIX}/share/pcxx\n")
endif()

# LibTorch of another series is passed over: its binary interface is another one.
set(old ${WORK}/old/share/cmake/Torch)
file(WRITE ${old}/TorchConfig.cmake "message(FATAL_ERROR \"the wrong LibTorch\")\n")
file(WRITE ${old}/TorchConfigVersion.cmake "set(PACKAGE_VERSION \"2.4.0\")\n")
configure(text ${project} ${WORK}/build -DTorch_DIR=${old})
expect_part("${text}" "${old} is LibTorch 2.4.0, and not ")

# So is another minor version of pcxx, and there is no other.
execute_process(COMMAND ${CMAKE_COMMAND} ${WORK}/build -DWANTED=0.99
  OUTPUT_VARIABLE text ERROR_VARIABLE text RESULT_VARIABLE status)
if(status EQUAL 0)
  message(FATAL_ERROR "version 0.99 was not refused:\n${text}")
endif()
expect_part("${text}" "requested version \"0.99\"")
