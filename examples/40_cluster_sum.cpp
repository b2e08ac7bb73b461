// The sum on the machines of a cluster: this one alone here. With "tls://head:4222" instead of the local cluster it
// runs where agents of this program run; with tandem::ProcessExecutor pool(2) in two processes. Nothing else changes.
#include <tandem/cluster.hpp>

#include <cstdint>
#include <iostream>
#include <vector>

std::int64_t work(std::int64_t begin, std::int64_t end) {
  std::int64_t total = 0;
  for (std::int64_t i = begin; i < end; ++i) total += i;
  return total;
}

int main() {
  tandem::init();  // Also what makes an agent of this program, where it is started as one.
  constexpr std::int64_t count = 2, numbers = 100'000'000;

  tandem::ClusterExecutor pool(tandem::local_cluster(2));
  std::vector<tandem::Future<std::int64_t>> parts;
  for (std::int64_t i = 0; i < count; ++i)
    parts.push_back(pool.submit(work, numbers * i / count, numbers * (i + 1) / count));

  std::int64_t total = 0;
  for (const auto& part : parts) total += part.get();
  std::cout << total << '\n';
}
