// For tests of the tool: a program that makes a ClusterExecutor without a url.
//   sum: adds numbers in tasks, and says which secrets a task finds in its environment.
//   hold FILE: writes to the pipe FILE when a task runs, which then waits until it is stopped.
#include <tandem/cluster.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace {

int triple(int number) {
  return 3 * number;
}

// Of what an agent starts.
std::string secrets_of_environment() {
  for (const char* name : {"TANDEM_CLUSTER_TOKEN", "TANDEM_CLUSTER_TOKEN_FILE", "TANDEM_CLUSTER_KEY"})
    if (std::getenv(name) != nullptr) return name;
  return "none";
}

void hold(const std::string& file) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  static_cast<void>(::close(fd));
  for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  tandem::ClusterExecutor pool;
  if (argc == 3) {
    pool.submit(hold, std::string(argv[2])).wait();
    return 0;
  }
  std::vector<int> numbers;
  for (int i = 0; i < 20; ++i) numbers.push_back(i);
  int total = 0;
  for (int number : pool.map(triple, numbers)) total += number;
  std::cout << total << ' ' << pool.submit(secrets_of_environment).get() << '\n';
}
