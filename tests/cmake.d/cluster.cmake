# The cluster: an executable of its own, because only who uses the cluster links NATS. Its tests need nats-server, and fail
# without it.
file(GLOB cluster_test_sources CONFIGURE_DEPENDS cluster/*.cpp)
add_executable(tandem_cluster_tests ${cluster_test_sources})
target_link_libraries(tandem_cluster_tests PRIVATE tandem_test_support tandem::cluster PkgConfig::nats OpenSSL::Crypto)
set_target_properties(tandem_cluster_tests PROPERTIES ENABLE_EXPORTS ON)
discover_tests(tandem_cluster_tests)
