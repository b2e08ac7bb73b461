// EXPECT: std::function, std::bind and std::any hide what they hold: send a function or a capture-less lambda
#include <functional>

#include "start.hpp"

void work(int);

void caller() {
  start(std::bind(work, 1));
}
