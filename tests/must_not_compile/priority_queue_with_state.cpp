// EXPECT: GiveAComparisonWithoutState
#include <tandem/queue.hpp>

struct FromAPoint {
  int point = 0;
  bool operator()(int a, int b) const { return a - point < b - point; }
};

tandem::PriorityQueue<int, FromAPoint> numbers;
