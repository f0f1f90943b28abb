# At installation: copies LibTorch's shared libraries, those of PCXX_TORCH_LIB that libtorch.so
# needs, into PCXX_LIBRARY_FOLDER of the prefix.
file(GET_RUNTIME_DEPENDENCIES LIBRARIES "${PCXX_TORCH_LIB}/libtorch.so"
  RESOLVED_DEPENDENCIES_VAR needed UNRESOLVED_DEPENDENCIES_VAR missing)
file(REAL_PATH "${PCXX_TORCH_LIB}" torch)
foreach(library IN LISTS needed ITEMS "${PCXX_TORCH_LIB}/libtorch.so")
  get_filename_component(folder "${library}" DIRECTORY)
  file(REAL_PATH "${folder}" folder)
  if(folder STREQUAL torch)
    file(INSTALL "${library}" DESTINATION "${CMAKE_INSTALL_PREFIX}/${PCXX_LIBRARY_FOLDER}"
      TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN)
  endif()
endforeach()
