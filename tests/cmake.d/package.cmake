# Tandem in the hands of another project: installed and found, static and shared, and as a subdirectory.
option(TANDEM_PACKAGE_TESTS "Test the installed package, which builds Tandem once more" ON)
if(TANDEM_PACKAGE_TESTS)
  foreach(way find_package find_package_shared add_subdirectory)
    add_test(NAME package.${way} COMMAND ${CMAKE_COMMAND} -D way=${way} -D cluster=${TANDEM_CLUSTER}
      -D compiler=${CMAKE_CXX_COMPILER} -D launcher=${CMAKE_CXX_COMPILER_LAUNCHER} -D source_dir=${PROJECT_SOURCE_DIR} -D build_dir=${PROJECT_BINARY_DIR}
      -D work_dir=${CMAKE_CURRENT_BINARY_DIR}/package/${way} -P ${CMAKE_CURRENT_SOURCE_DIR}/package/run.cmake)
    set_tests_properties(package.${way} PROPERTIES TIMEOUT 900 COST 1000) # Minutes: begun first.
  endforeach()
endif()
