# Installs the build, moves the tree to PREFIX, and looks at what is there.
# Oracles: the list of files below, and what the loader reads in them.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

file(REMOVE_RECURSE ${PREFIX} ${WORK})
run(log ${BUILD} ${CMAKE_COMMAND} --install ${BUILD} --config ${CONFIG} --prefix ${WORK})
file(RENAME ${WORK} ${PREFIX})

set(library ${LIBDIR}/libpcxx.a)
if(SHARED)
  set(library ${LIBDIR}/libpcxx.so)
endif()
foreach(file IN ITEMS include/pcxx/pcxx.h include/pcxx/version.h include/pcxx/programs.h ${library}
                      ${LIBDIR}/libpcxx_programs.a bin/pcxx-regression bin/pcxx-reproduce
                      share/pcxx/plots/regression.py share/pcxx/plots/pcxx_plots/__init__.py
                      share/pcxx/configs/paper/figure2.toml)
  expect_file(${PREFIX}/${file})
endforeach()

# Where the loader looks: beside the file, then where LibTorch was at build time, nowhere else.
function(expect_rpath file first)
  run(sections ${BUILD} ${READELF} -d ${file})
  expect_part("${sections}" "[${first}:${TORCH_LIB}]")
endfunction()
file(RELATIVE_PATH from_bin ${PREFIX}/bin ${PREFIX}/${LIBDIR})
file(GLOB programs ${PREFIX}/bin/*)
foreach(program IN LISTS programs)
  expect_rpath(${program} "$ORIGIN/${from_bin}")
endforeach()
if(SHARED)
  expect_rpath(${PREFIX}/${library} "$ORIGIN")
endif()

# LibTorch's libraries are there when asked for, the build's folders are named nowhere.
file(GLOB torch ${PREFIX}/${LIBDIR}/libtorch_cpu.so ${PREFIX}/${LIBDIR}/libc10.so)
list(LENGTH torch count)
if((BUNDLED AND NOT count EQUAL 2) OR (NOT BUNDLED AND NOT count EQUAL 0))
  message(FATAL_ERROR "bundled: ${BUNDLED}, but LibTorch's libraries there: ${torch}")
endif()
file(GLOB package ${PREFIX}/${LIBDIR}/cmake/pcxx/*.cmake)
foreach(file IN LISTS package)
  file(READ ${file} text)
  expect_no_part("${text}" "${BUILD}")
endforeach()
