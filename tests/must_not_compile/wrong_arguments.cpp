// EXPECT: the callable cannot be called with copies of these arguments: their number or types differ
#include "start.hpp"

void add(int, int);

void caller() {
  start(add, 1);
}
