// Two processes ask one over pipes of their own; it answers whoever asks first, until both have gone.
#include <tandem/tandem.hpp>

#include <cstdint>
#include <iostream>
#include <vector>

std::int64_t square(std::int64_t number) {
  return number * number;
}

void ask(std::int64_t first, std::int64_t last, tandem::Connection oracle, tandem::Queue<std::int64_t> sums) {
  std::int64_t sum = 0;
  for (std::int64_t i = first; i <= last; ++i) {
    oracle.send(i);
    sum += oracle.recv<std::int64_t>();
  }
  sums.put(sum);
}

int main() {
  tandem::init();
  tandem::Queue<std::int64_t> sums;
  auto [first, first_there] = tandem::Pipe();
  auto [second, second_there] = tandem::Pipe();
  tandem::Process a(ask, 1, 500, first_there, sums);
  tandem::Process b(ask, 501, 1000, second_there, sums);
  a.start();
  b.start();
  first_there.close();  // the children have their own
  second_there.close();

  std::vector<tandem::Connection> askers = {first, second};
  while (!askers.empty()) {
    const auto ready = tandem::wait(std::vector<tandem::Waitable>(askers.begin(), askers.end()));
    tandem::Connection& asker = askers[ready.front()];
    try {
      asker.send(square(asker.recv<std::int64_t>()));
    } catch (const tandem::EndOfStream&) {
      askers.erase(askers.begin() + static_cast<std::ptrdiff_t>(ready.front()));
    }
  }
  a.join();
  b.join();
  std::cout << sums.get() + sums.get() << '\n';
}
