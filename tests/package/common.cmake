# For the scripts of this folder.
cmake_minimum_required(VERSION 3.24)

# Nothing but the files themselves may say where something is.
foreach(name IN ITEMS PCXX_SHARE PCXX_PLOTS PCXX_CONFIGS PCXX_PYTHON LD_LIBRARY_PATH)
  unset(ENV{${name}})
endforeach()

# What a test compiles is compiled as this build.
if(SANITIZE)
  set(ENV{CXXFLAGS} "-fsanitize=${SANITIZE}")
endif()
if(CCACHE)
  set(ENV{CMAKE_CXX_COMPILER_LAUNCHER} ${CCACHE})
endif()

# run(out folder command...): `out` becomes what the command prints; it has to succeed.
function(run out folder)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${folder}"
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}: ${status}\n${output}")
  endif()
  set(${out} "${output}" PARENT_SCOPE)
endfunction()

function(expect_part text part)
  string(FIND "${text}" "${part}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "no '${part}' in:\n${text}")
  endif()
endfunction()

function(expect_no_part text part)
  string(FIND "${text}" "${part}" at)
  if(NOT at EQUAL -1)
    message(FATAL_ERROR "'${part}' in:\n${text}")
  endif()
endfunction()

function(expect_file path)
  if(NOT EXISTS "${path}")
    message(FATAL_ERROR "${path} is not there")
  endif()
endfunction()

function(fresh_folder path)
  file(REMOVE_RECURSE "${path}")
  file(MAKE_DIRECTORY "${path}")
endfunction()

# How a project of a test is configured: as this one, from where `source` is.
macro(configure out source build)
  run(${out} ${WORK} ${CMAKE_COMMAND} -S ${source} -B ${build} -G ${GENERATOR}
    -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_EXPORT_COMPILE_COMMANDS=ON ${ARGN})
endmacro()
