// EXPECT: this type of the standard library is not known to travel: send the values that it is made of
#include <system_error>

#include "start.hpp"

void report(std::error_code);

void caller(std::error_code error) {
  start(report, error);
}
