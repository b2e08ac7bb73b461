// EXPECT: std::string_view refers to memory of this process: send std::string
#include <map>
#include <string_view>
#include <vector>

#include "start.hpp"

using Words = std::map<int, std::vector<std::string_view>>;
void count(Words);

void caller(const Words& words) {
  start(count, words);
}
