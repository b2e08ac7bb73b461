// EXPECT: a pointer refers to memory of this process: send the value that it points to
#include <tandem/executor.hpp>

double sum(const double* values, int count);

double caller(tandem::ProcessExecutor& executor, const double* values) {
  return executor.submit(sum, values, 100).get();
}
