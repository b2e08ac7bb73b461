// EXPECT: the function gives no result to read: use for_each()
#include <vector>

#include <tandem/executor.hpp>

void print(int number);

void caller(tandem::ThreadExecutor& executor, const std::vector<int>& numbers) {
  static_cast<void>(executor.map(print, numbers));
}
