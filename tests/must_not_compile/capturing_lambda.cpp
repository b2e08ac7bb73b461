// EXPECT: a capturing lambda does not travel to another process: pass values as arguments, or use tandem::fork
#include "start.hpp"

void caller(int number) {
  start([number] { return number; });
}
