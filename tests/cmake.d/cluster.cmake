# The cluster: executables of their own, because only who uses the cluster links NATS. Their tests need nats-server, and fail
# without it.
if(NOT TANDEM_CLUSTER)
  return()
endif()
file(GLOB cluster_test_sources CONFIGURE_DEPENDS cluster/*_test.cpp)
file(GLOB cluster_support_sources CONFIGURE_DEPENDS cluster/*.cpp)
list(REMOVE_ITEM cluster_support_sources ${cluster_test_sources})
list(FILTER cluster_test_sources EXCLUDE REGEX "nats_tls_test")
add_library(tandem_cluster_test_support OBJECT ${cluster_support_sources})
target_link_libraries(tandem_cluster_test_support PUBLIC tandem_test_support tandem::cluster PkgConfig::nats OpenSSL::Crypto)

# add_cluster_tests(<executable> <file>...)
function(add_cluster_tests executable)
  add_executable(${executable} ${ARGN})
  target_link_libraries(${executable} PRIVATE tandem_cluster_test_support tandem_test_support)
  set_target_properties(${executable} PROPERTIES ENABLE_EXPORTS ON)
endfunction()

add_cluster_tests(tandem_cluster_tests ${cluster_test_sources})
discover_tests(tandem_cluster_tests)
add_cluster_tests(tandem_cluster_tls_tests cluster/nats_tls_test.cpp)
discover_tests(tandem_cluster_tls_tests not-tsan)
