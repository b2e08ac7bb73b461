// Counts primes on the machines of a cluster. Which one, the environment says: `tandem run --cluster -- PROGRAM` sets
// it. Run by itself the program has a cluster of its own, on this machine.
#include <tandem/cluster.hpp>

#include <iostream>
#include <vector>

struct Range {
  int begin = 0, end = 0;
};

int primes_in(Range range) {
  int count = 0;
  for (int n = range.begin; n < range.end; ++n) {
    bool prime = n > 1;
    for (int i = 2; prime && i * i <= n; ++i) prime = n % i != 0;
    count += prime ? 1 : 0;
  }
  return count;
}

int main() {
  tandem::init();  // Also what makes an agent of this program, where it is started as one.
  std::vector<Range> ranges;
  for (int begin = 0; begin < 1'000'000; begin += 10'000) ranges.push_back({begin, begin + 10'000});

  tandem::ClusterExecutor pool;
  int total = 0;
  for (int count : pool.map(primes_in, ranges)) total += count;
  std::cout << total << '\n';
}
