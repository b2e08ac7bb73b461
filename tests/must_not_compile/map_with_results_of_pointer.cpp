// EXPECT: const char. refers to memory of this process: send std::string
#include <vector>

#include <tandem/executor.hpp>

const char* name_of(int number);

void caller(tandem::ProcessExecutor& executor, const std::vector<int>& numbers) {
  for (const char* const name : executor.map(name_of, numbers)) static_cast<void>(name);
}
