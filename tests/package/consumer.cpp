// What a user's first program does; built by both consumer projects.
#include <cstdio>

#include <tandem/tandem.hpp>

void answer(tandem::Queue<int> queue) {
  queue.put(42);
}

int main() {
  tandem::init();
  tandem::Queue<int> queue;
  tandem::Process process(answer, queue);
  tandem::Thread thread(answer, queue);
  process.start();
  thread.start();
  process.join();
  thread.join();
  const int sum = queue.get() + queue.get();
  std::printf("%d\n", sum);
  return sum == 84 ? 0 : 1;
}
