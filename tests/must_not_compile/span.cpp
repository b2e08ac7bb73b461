// EXPECT: a span or view refers to memory of this process: send the container itself, such as std::vector
#include <span>

#include "start.hpp"

void sum(std::span<const int>);

void caller(std::span<const int> numbers) {
  start(sum, numbers);
}
