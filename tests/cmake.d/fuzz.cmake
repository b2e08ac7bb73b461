# Fuzzing (preset fuzz): what strangers send, thrown at the decoder and at the socket's framing and handshake. fuzz_seeds_test
# replays the seeds in every build.
target_compile_definitions(tandem_test_support PUBLIC TANDEM_TEST_FUZZ_DIR="${CMAKE_CURRENT_SOURCE_DIR}/fuzz")
if(TANDEM_SANITIZE MATCHES fuzzer)
  foreach(target decoder socket)
    add_executable(fuzz_${target} fuzz/${target}_fuzz.cpp)
    target_include_directories(fuzz_${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(fuzz_${target} PRIVATE tandem::tandem tandem_flags)
    target_link_options(fuzz_${target} PRIVATE -fsanitize=fuzzer)
  endforeach()
endif()
