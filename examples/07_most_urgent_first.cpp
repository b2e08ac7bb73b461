// Jobs come in any order, and four processes do the most urgent one first.
#include <tandem/tandem.hpp>

#include <iostream>
#include <vector>

struct Job {
  int urgency = 0;
  int number = 0;
};

struct MoreUrgent {
  bool operator()(const Job& a, const Job& b) const { return a.urgency > b.urgency; }
};

using Jobs = tandem::PriorityQueue<Job, MoreUrgent>;

void work(Jobs jobs, tandem::Queue<Job> done) {
  for (const Job& job : jobs) done.put(job);
}

int main() {
  tandem::init();
  Jobs jobs;
  tandem::Queue<Job> done;
  for (int number = 0; number < 12; ++number) jobs.put({.urgency = number * 5 % 3, .number = number});
  jobs.close();

  std::cout << "first:";
  for (const Job& job : jobs.get_many(4)) std::cout << ' ' << job.number;
  std::cout << '\n';

  std::vector<tandem::Process> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back(work, jobs, done).start();
  for (tandem::Process& worker : workers) worker.join();
  std::cout << "the workers did " << done.size() << " more\n";
}
