# The cluster: executables of their own, because only who uses the cluster links NATS. Their tests need nats-server, and fail
# without it.
if(NOT TANDEM_CLUSTER)
  return()
endif()
file(GLOB cluster_test_sources CONFIGURE_DEPENDS cluster/*_test.cpp)
file(GLOB cluster_support_sources CONFIGURE_DEPENDS cluster/*.cpp)
list(REMOVE_ITEM cluster_support_sources ${cluster_test_sources})
list(FILTER cluster_test_sources EXCLUDE REGEX "/(nats_)?tls_[a-z_]*test|/nats_fork_test|/network_[a-z_]*_test|/cluster_[a-z_]*_test")
list(FILTER cluster_support_sources EXCLUDE REGEX "cluster_places")
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
add_cluster_tests(tandem_cluster_tls_tests cluster/nats_tls_test.cpp cluster/tls_executor_test.cpp)
discover_tests(tandem_cluster_tls_tests not-tsan)
# They fork beside the threads of the library.
add_cluster_tests(tandem_cluster_fork_tests cluster/nats_fork_test.cpp)
discover_tests(tandem_cluster_fork_tests not-tsan)

# Machines are network namespaces there: for root, where they may be made. Where they may not that is said here, and ctest
# has no such tests; started by hand they fail.
add_cluster_tests(tandem_cluster_network_tests cluster/network_executor_test.cpp)
find_program(TANDEM_IP ip PATHS /usr/sbin /sbin)
set(no_network "there is no ip: install iproute2")
if(TANDEM_IP)
  string(RANDOM LENGTH 8 probe)
  execute_process(COMMAND ${TANDEM_IP} netns add tandem-${probe} RESULT_VARIABLE failed ERROR_VARIABLE no_network)
  if(NOT failed)
    execute_process(COMMAND ${TANDEM_IP} link add tt${probe} type veth peer name eth0 netns tandem-${probe}
      ERROR_VARIABLE no_network)
    execute_process(COMMAND ${TANDEM_IP} netns delete tandem-${probe})
  endif()
endif()
if(no_network)
  string(STRIP "${no_network}" no_network)
  message(WARNING "ctest leaves out the tests with the label root, of a cluster over a network that is cut: "
    "they need root and the right to make network namespaces, and that was refused (${no_network})")
else()
  discover_tests(tandem_cluster_network_tests root)
endif()

# The executor over it, and programs that its tests start.
file(GLOB cluster_executor_sources CONFIGURE_DEPENDS cluster/cluster_*_test.cpp)
list(FILTER cluster_executor_sources EXCLUDE REGEX "cluster_tool_test")
add_executable(tandem_cluster_executor_tests ${cluster_executor_sources})
target_link_libraries(tandem_cluster_executor_tests PRIVATE tandem::cluster tandem_test_support PkgConfig::nats)
set_target_properties(tandem_cluster_executor_tests PROPERTIES ENABLE_EXPORTS ON)
foreach(program other_build no_cluster)
  add_executable(tandem_cluster_${program} cluster/programs/${program}.cpp)
  target_link_libraries(tandem_cluster_${program} PRIVATE tandem::cluster)
  add_dependencies(tandem_cluster_executor_tests tandem_cluster_${program})
endforeach()
target_compile_definitions(tandem_cluster_executor_tests PRIVATE
  TANDEM_OTHER_BUILD="$<TARGET_FILE:tandem_cluster_other_build>" TANDEM_NO_CLUSTER="$<TARGET_FILE:tandem_cluster_no_cluster>")
discover_tests(tandem_cluster_executor_tests)

# The suites of all executors, in a cluster: but for tests whose tasks share objects with the test, which a cluster refuses,
# and those that are about the names of workers, which it has not.
set(suites broadcast_test shared_file_test executor_test executor_map_test executor_shutdown_test future_test future_wait_test
  journal_place_test worker_usage_test)
list(TRANSFORM suites APPEND .cpp OUTPUT_VARIABLE suite_sources)
add_executable(tandem_cluster_place_tests ${suite_sources} cluster/cluster_places.cpp)
target_link_libraries(tandem_cluster_place_tests PRIVATE tandem::cluster tandem_test_support)
target_compile_options(tandem_cluster_place_tests PRIVATE -include ${CMAKE_CURRENT_SOURCE_DIR}/cluster/cluster_places.hpp)
set_target_properties(tandem_cluster_place_tests PROPERTIES ENABLE_EXPORTS ON)
file(STRINGS cluster/needs_one_machine.txt needs_one_machine REGEX "^[A-Z]")
list(TRANSFORM needs_one_machine REPLACE "^([A-Za-z]+)[.]" "\\1/Cluster.")
list(JOIN needs_one_machine ":" needs_one_machine)
gtest_discover_tests(tandem_cluster_place_tests DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120
  TEST_FILTER "*/Cluster.*-${needs_one_machine}" PROPERTIES TIMEOUT ${test_seconds})

# The tool's commands for clusters, and a program for them to start.
if(TANDEM_CLI)
  add_executable(tandem_cluster_tool_program cluster/programs/tool_program.cpp)
  target_link_libraries(tandem_cluster_tool_program PRIVATE tandem::cluster)
  add_cluster_tests(tandem_cluster_tool_tests cluster/cluster_tool_test.cpp)
  add_dependencies(tandem_cluster_tool_tests tandem_cli tandem_cluster_tool_program tandem_cluster_no_cluster)
  target_compile_definitions(tandem_cluster_tool_tests PRIVATE
    TANDEM_TOOL_PROGRAM="$<TARGET_FILE:tandem_cluster_tool_program>"
    TANDEM_NO_CLUSTER="$<TARGET_FILE:tandem_cluster_no_cluster>")
  gtest_discover_tests(tandem_cluster_tool_tests DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120
    TEST_FILTER "-ClusterToolTlsTest.*" TEST_LIST tool_tests PROPERTIES TIMEOUT ${test_seconds})
  gtest_discover_tests(tandem_cluster_tool_tests DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120
    TEST_FILTER "ClusterToolTlsTest.*" TEST_LIST tool_tls_tests PROPERTIES TIMEOUT ${test_seconds} LABELS not-tsan)
  find_program(TANDEM_NATS_SERVER nats-server PATHS /usr/sbin /usr/local/sbin)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  add_test(NAME tree.check_manifests COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/check_manifests
    $<TARGET_FILE:tandem_cli> ${TANDEM_NATS_SERVER})
endif()
