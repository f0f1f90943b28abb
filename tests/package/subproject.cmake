# pcxx inside another project: by itself only the library; programs and tests where asked for.
# Oracles: the targets, and the commands that compile the outer project.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
fresh_folder(${WORK})
set(project ${CMAKE_CURRENT_LIST_DIR}/subproject)
set(torch -DTorch_DIR=${TORCH_DIR})

configure(text ${project} ${WORK}/folder ${torch} -DPCXX_FOLDER=${SOURCE})
expect_part("${text}" "target pcxx.")
foreach(target IN ITEMS pcxx_programs. pcxx- core_test. readme_example. pcxx_headers_alone.)
  expect_no_part("${text}" "target ${target}")
endforeach()
file(READ ${WORK}/folder/compile_commands.json commands)
string(REGEX MATCH "[^\n]*-o CMakeFiles/outer.dir[^\n]*" command "${commands}")
expect_part("${command}" "${SOURCE}/lib/include")
get_filename_component(torch_root ${TORCH_DIR}/../../.. ABSOLUTE)
expect_part("${command}" "${torch_root}/include")
expect_no_part("${command}" "-Werror")

set(fetched ${torch} -DFETCHCONTENT_SOURCE_DIR_PCXX=${SOURCE})
configure(text ${project} ${WORK}/fetched ${fetched} -DPCXX_BUILD_APPS=ON)
expect_part("${text}" "target pcxx_programs.")
expect_part("${text}" "target pcxx-reproduce.")
expect_no_part("${text}" "target core_test.")

# Without the programs their tests are left out.
configure(text ${project} ${WORK}/tests ${fetched} -DPCXX_BUILD_TESTS=ON)
expect_part("${text}" "target core_test.")
foreach(target IN ITEMS pcxx_programs integration_test reproduce_test)
  expect_no_part("${text}" "target ${target}.")
endforeach()
