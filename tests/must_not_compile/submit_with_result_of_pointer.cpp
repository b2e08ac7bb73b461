// EXPECT: const char. refers to memory of this process: send std::string
#include <tandem/executor.hpp>

const char* name_of(int number);

const char* caller(tandem::ProcessExecutor& executor) {
  return executor.submit(name_of, 3).get();
}
