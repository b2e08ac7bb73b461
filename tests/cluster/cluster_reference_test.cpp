// The blocks of docs/reference/cluster.md.
#include <tandem/cluster.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <tandem/queue.hpp>

#include "cluster/cluster_fixture.hpp"

namespace tandem::testing {
namespace {

double area(double radius) {
  return 3 * radius * radius;
}
std::string g_unit;
void set_unit(const std::string& unit) {
  g_unit = unit;
}
std::string with_unit(int value) {
  return std::to_string(value) + " " + g_unit;
}

void put_area(double radius, tandem::Queue<double> areas) {
  areas.put(area(radius));
}
void append_once(const std::filesystem::path& folder, int item, const std::string& line) {
  const std::filesystem::path file = folder / std::to_string(item),
                              part = file.string() + "." + std::to_string(::getpid());
  std::ofstream(part) << line;
  std::filesystem::rename(part, file);  // the second time it is replaced by the same
}

class ClusterReferenceTest : public ClusterFixture {};

TEST_F(ClusterReferenceTest, Use) {
  tandem::ClusterExecutor executor(tandem::local_cluster(2));  // two agents on this machine
  tandem::Future<double> one = executor.submit(area, 10.0);
  double total = 0;
  for (double each : executor.map(area, std::vector{1.0, 2.0, 3.0})) total += each;
  EXPECT_EQ(one.get() + total, 342);
}

TEST_F(ClusterReferenceTest, Initializer) {
  tandem::LocalCluster cluster = tandem::local_cluster({.agents = 1, .slots = 2});
  tandem::ClusterExecutor executor(cluster, {}, set_unit, std::string("EUR"));
  EXPECT_EQ(executor.submit(with_unit, 5).get(), "5 EUR");
}

// The blocks of docs/pitfalls.md.
TEST_F(ClusterReferenceTest, Pitfalls) {
  tandem::ClusterExecutor executor(tandem::local_cluster(1));
  tandem::Queue<double> areas;
  EXPECT_THROW(static_cast<void>(executor.submit(put_area, 1.0, areas)), tandem::WireError);

  for (double each : executor.map(area, std::vector{1.0, 2.0})) areas.put(each);
  EXPECT_EQ(areas.get() + areas.get(), 15);

  const std::filesystem::path folder = pipe("lines");
  std::filesystem::create_directory(folder);
  executor.submit(append_once, folder, 7, std::string("seven")).get();
  EXPECT_TRUE(std::filesystem::exists(folder / "7"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tandem::testing
