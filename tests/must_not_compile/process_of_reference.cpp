// EXPECT: std::reference_wrapper \(std::ref\) refers to memory of this process: send a copy, and a Tandem handle
#include <functional>
#include <vector>

#include <tandem/process.hpp>

void sum(const std::vector<int>& numbers);

void caller(std::vector<int>& numbers) {
  tandem::Process p(sum, std::ref(numbers));
}
