// EXPECT: const char\* refers to memory of this process: send std::string
#include <string>

#include "start.hpp"

void greet(std::string);

void caller() {
  start(greet, "world");
}
