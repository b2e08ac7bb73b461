// A job that may be killed at any moment and goes on where it was: its results are in a journal.
#include <tandem/tandem.hpp>

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <ranges>
#include <string>

int calls = 0;  // Of this process, which has one worker.

// How long the Collatz sequence of a number is: stands for what takes hours in a real job.
int steps_from(std::int64_t n) {
  ++calls;
  int steps = 0;
  for (; n != 1; n = n % 2 == 0 ? n / 2 : 3 * n + 1) ++steps;
  return steps;
}

// The job. Dies of SIGKILL behind that many results, as by the power button.
void job(const std::string& file, int dies_behind) {
  tandem::ThreadExecutor executor(1);
  int results = 0, longest = 0;
  for (const int steps : executor.map(tandem::Journal{file}, steps_from, std::views::iota(1, 1001))) {
    longest = std::max(longest, steps);
    if (++results == dies_behind) std::raise(SIGKILL);
  }
  executor.shutdown();
  std::cout << results << " results, the longest has " << longest << " steps\n"
            << (calls <= 1000 - 600 ? "no more than 400 calls were left to make\n" : "it began anew\n");
}

int main() {
  tandem::init();
  const std::string file = std::filesystem::temp_directory_path() / ("job-" + std::to_string(::getpid()));
  for (const int dies_behind : {200, 600, 0}) {
    tandem::Process run(job, file, dies_behind);
    run.start();
    run.join();
    std::cout << "exit code " << *run.exitcode() << std::endl;
  }
  std::filesystem::remove(file);
}
