// EXPECT: const char. refers to memory of this process: send std::string
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/journal.hpp>

const char* name_of(int number);

void caller(tandem::ThreadExecutor& executor, const std::vector<int>& numbers) {
  for (const char* const name : executor.map(tandem::Journal("names.journal"), name_of, numbers))
    static_cast<void>(name);
}
