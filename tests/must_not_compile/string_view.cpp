// EXPECT: std::string_view refers to memory of this process: send std::string
#include <string_view>

#include "start.hpp"

void greet(std::string_view);

void caller(std::string_view name) {
  start(greet, name);
}
