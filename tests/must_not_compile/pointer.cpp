// EXPECT: a pointer refers to memory of this process: send the value that it points to, or a Tandem handle
#include "start.hpp"

void fill(int*);

void caller(int* numbers) {
  start(fill, numbers);
}
