// EXPECT: non-const reference, which a copy cannot be bound to: take it by value, and send results through
#include "start.hpp"

void fill(int&);

void caller(int& number) {
  start(fill, number);
}
