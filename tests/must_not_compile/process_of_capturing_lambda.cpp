// EXPECT: a capturing lambda does not travel to another process: pass values as arguments, or use tandem::fork
#include <vector>

#include <tandem/process.hpp>

void caller(const std::vector<int>& table) {
  tandem::Process p([&table] { return table[500]; });
}
