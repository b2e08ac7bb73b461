// EXPECT: const char. refers to memory of this process: send std::string
#include <vector>

#include <tandem/executor.hpp>

int length_of(const char* text);

std::vector<int> caller(tandem::ProcessExecutor& executor, const std::vector<const char*>& texts) {
  return executor.map(length_of, texts).to_vector();
}
