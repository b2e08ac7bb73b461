#include "fuzz/socket_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  tandem::testing::run_socket_target(std::as_bytes(std::span(data, size)));
  return 0;
}
