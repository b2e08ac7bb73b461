// EXPECT: a capturing lambda does not travel to another process: pass values as arguments
#include <tandem/executor.hpp>

int caller(tandem::ProcessExecutor& executor, int factor) {
  return executor.submit([factor](int number) { return factor * number; }, 3).get();
}
