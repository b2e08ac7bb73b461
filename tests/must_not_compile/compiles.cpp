// EXPECT: nothing: this file compiles, so that the others fail for the reason that they name
#include <complex>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <tandem/executor.hpp>
#include <tandem/journal.hpp>
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

std::vector<std::string> caller(tandem::ProcessExecutor& executor, const std::vector<int>& numbers, const char* text) {
  const std::string first =
      executor.submit([](const std::string& t, int n) { return t.substr(n); }, std::string(text), 1).get();
  std::vector<std::string> all = executor.map([](int number) { return std::to_string(number); }, numbers).to_vector();
  executor.for_each([](int) {}, numbers);
  all.push_back(first);
  return executor.map(tandem::Journal("text.journal"), [](const std::string& t) { return t + t; }, all).to_vector();
}
