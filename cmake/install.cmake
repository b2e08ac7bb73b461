# cmake --install: the library, its headers and the tool, and what find_package(tandem) needs.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
install(TARGETS tandem EXPORT tandemTargets FILE_SET HEADERS)
install(EXPORT tandemTargets NAMESPACE tandem:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tandem)
if(TARGET tandem_cluster)
  install(TARGETS tandem_cluster EXPORT tandemClusterTargets FILE_SET HEADERS)
  install(EXPORT tandemClusterTargets NAMESPACE tandem:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tandem)
endif()
if(TARGET tandem_cli)
  install(TARGETS tandem_cli)
endif()
get_target_property(TANDEM_LIBRARY_TYPE tandem TYPE)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/tandemConfig.cmake.in ${PROJECT_BINARY_DIR}/tandemConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tandem)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tandemConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tandemConfig.cmake ${PROJECT_BINARY_DIR}/tandemConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tandem)
