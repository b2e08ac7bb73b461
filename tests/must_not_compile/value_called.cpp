// EXPECT: the first argument is a value that cannot be called
#include "start.hpp"

void caller() {
  start(1, 2);
}
