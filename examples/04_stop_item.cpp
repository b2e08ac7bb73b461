// The sum on two processes, with a literal 'STOP' item in the queue to end the reading, as Python programs do.
#include <tandem/tandem.hpp>

#include <cstdint>
#include <iostream>
#include <string>
#include <variant>

using Item = std::variant<std::int64_t, std::string>;

void work(std::int64_t begin, std::int64_t end, tandem::Queue<Item> result) {
  std::int64_t total = 0;
  for (std::int64_t i = begin; i < end; ++i) total += i;
  result.put(total);
}

int main() {
  tandem::init();
  tandem::Queue<Item> result;
  tandem::Process a(work, 0, 50'000'000, result);
  tandem::Process b(work, 50'000'000, 100'000'000, result);
  a.start();
  b.start();
  a.join();
  b.join();
  result.put("STOP");

  std::int64_t total = 0;
  for (Item item = result.get(); item != Item("STOP"); item = result.get()) total += std::get<std::int64_t>(item);
  std::cout << total << '\n';
}
