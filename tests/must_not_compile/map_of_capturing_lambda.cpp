// EXPECT: a capturing lambda does not travel to another process: pass values as arguments
#include <vector>

#include <tandem/executor.hpp>

std::vector<int> caller(tandem::ProcessExecutor& executor, const std::vector<int>& numbers, int factor) {
  return executor.map([factor](int number) { return factor * number; }, numbers).to_vector();
}
