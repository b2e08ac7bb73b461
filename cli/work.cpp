#include "work.hpp"

namespace tandem::tool {

std::vector<std::unique_ptr<Work>> all_works() {
  std::vector<std::unique_ptr<Work>> works;
  works.push_back(sum_work());
  works.push_back(primes_work());
  works.push_back(words_work());
  works.push_back(sha256_work());
  works.push_back(wait_work());
  works.push_back(plugin_work());
  return works;
}

}  // namespace tandem::tool
