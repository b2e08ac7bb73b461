// EXPECT: std::function, std::bind and std::any hide what they hold: send a function or a capture-less lambda
#include <functional>

#include "start.hpp"

void caller(const std::function<void()>& work) {
  start(work);
}
