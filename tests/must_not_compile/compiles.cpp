// EXPECT: nothing: this file compiles, so that the others fail for the reason that they name
#include <complex>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <tandem/queue.hpp>

#include "start.hpp"

struct Sample {
  int id;
  double values[4];
};
struct Job {
  std::map<std::string, std::vector<Sample>> samples;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(samples);
  }
};

void work(const Job& job, std::complex<float> factor, tandem::Queue<int> result);

void caller(const Job& job, const tandem::Queue<int>& result) {
  start(work, job, 1.5F, result);
  start([](int number) { return number; }, 1);
}
