# MPI, for training one network on several ranks (lib/include/pcxx/parallel): PCXX_HAS_MPI, and then
# the target MPI::MPI_CXX.
set(PCXX_HAS_MPI FALSE)
if(PCXX_MPI)
  set(MPI_CXX_SKIP_MPICXX ON)
  find_package(MPI QUIET COMPONENTS CXX)
  set(PCXX_HAS_MPI ${MPI_CXX_FOUND})
  if(NOT PCXX_HAS_MPI AND NOT PCXX_MPI STREQUAL "AUTO")
    message(FATAL_ERROR "PCXX_MPI is ${PCXX_MPI}, but there is no MPI here: install it (Debian: "
      "libopenmpi-dev and openmpi-bin), or name it by MPI_HOME or MPI_CXX_COMPILER")
  endif()
endif()
if(PCXX_HAS_MPI)
  message(STATUS "MPI ${MPI_CXX_VERSION}: ${MPI_CXX_LIBRARIES}")
elseif(PCXX_MPI)
  message(STATUS "MPI: none; programs train on one rank (Debian: libopenmpi-dev and openmpi-bin)")
else()
  message(STATUS "MPI: PCXX_MPI is OFF; programs train on one rank")
endif()
