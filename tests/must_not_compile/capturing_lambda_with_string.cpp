// EXPECT: a capturing lambda does not travel to another process: pass values as arguments, or use tandem::fork
#include <string>

#include "start.hpp"

void caller(const std::string& name) {
  start([name] { return name.empty(); });
}
