# What `cmake --install` puts under its prefix. Nothing in it depends on where that is.
include(CMakePackageConfigHelpers)

set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/pcxx)
set(_share ${CMAKE_INSTALL_DATADIR}/pcxx)

install(TARGETS pcxx EXPORT pcxxTargets)
install(DIRECTORY lib/include/ ${PROJECT_BINARY_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")
if(PCXX_BUILD_APPS)
  install(TARGETS pcxx_programs EXPORT pcxxTargets)
  install(DIRECTORY apps/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  get_property(_programs DIRECTORY apps PROPERTY BUILDSYSTEM_TARGETS)
  list(FILTER _programs INCLUDE REGEX "^pcxx-")
  install(TARGETS ${_programs})
endif()
install(DIRECTORY configs plots python DESTINATION ${_share} PATTERN __pycache__ EXCLUDE)
install(FILES LICENSE DESTINATION ${_share})

if(PCXX_BUNDLE_TORCH)
  install(CODE "set(PCXX_TORCH_LIB \"${PCXX_TORCH_LIB}\")
    set(PCXX_LIBRARY_FOLDER \"${CMAKE_INSTALL_LIBDIR}\")")
  install(SCRIPT cmake/BundleTorch.cmake)
endif()

# Static libraries name what they are linked with.
set(PCXX_LINKED_PACKAGES "")
if(NOT PCXX_SHARED)
  list(APPEND PCXX_LINKED_PACKAGES Threads ZLIB hwy)
  if(PCXX_HAS_MPI)
    list(APPEND PCXX_LINKED_PACKAGES MPI)
  endif()
endif()
if((PCXX_BUILD_APPS OR NOT PCXX_SHARED) AND PCXX_TOML STREQUAL "tomlplusplus::tomlplusplus")
  list(APPEND PCXX_LINKED_PACKAGES tomlplusplus)
endif()
string(REGEX MATCH "^[0-9]+[.][0-9]+" PCXX_TORCH_SERIES "${Torch_VERSION}")
configure_package_config_file(cmake/pcxxConfig.cmake.in
  ${PROJECT_BINARY_DIR}/cmake/pcxxConfig.cmake INSTALL_DESTINATION ${_package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/pcxxConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(EXPORT pcxxTargets NAMESPACE pcxx:: DESTINATION ${_package})
install(FILES
  ${PROJECT_BINARY_DIR}/cmake/pcxxConfig.cmake ${PROJECT_BINARY_DIR}/cmake/pcxxConfigVersion.cmake
  cmake/FindTorchPackage.cmake cmake/ImportTorch.cmake
  DESTINATION ${_package})
