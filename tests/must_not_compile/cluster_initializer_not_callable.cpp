// EXPECT: the first argument is a value that cannot be called
// CLU-08
#include <tandem/cluster.hpp>

void make() {
  tandem::ClusterExecutor executor("nats://localhost:4222", tandem::ClusterOptions(), 7);
}
