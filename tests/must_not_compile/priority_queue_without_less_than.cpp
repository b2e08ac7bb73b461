// EXPECT: GiveItLessThanOrAComparison
#include <tandem/queue.hpp>

struct Job {
  int priority = 0;
};

tandem::PriorityQueue<Job> jobs;
