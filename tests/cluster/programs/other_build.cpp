// Another program than the tests: as an agent it is of another build.
#include <tandem/cluster.hpp>

int answer() {
  return 42;
}

int main() {
  tandem::init();
  tandem::ClusterExecutor executor(tandem::local_cluster(1));
  return executor.submit(answer).get() == 42 ? 0 : 1;
}
