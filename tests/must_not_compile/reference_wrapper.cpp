// EXPECT: std::reference_wrapper \(std::ref\) refers to memory of this process: send a copy, and a Tandem handle
#include <functional>

#include "start.hpp"

void fill(int&);

void caller(int& number) {
  start(fill, std::ref(number));
}
