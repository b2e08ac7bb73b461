// EXPECT: this callable cannot be called with copies of these arguments
#include <tandem/executor.hpp>

int add(int, int);

int caller(tandem::ThreadExecutor& executor) {
  return executor.submit(add, 1).get();
}
