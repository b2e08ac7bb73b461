#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <tandem/cpu.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "core/cpu_sources.hpp"
#include "support/temporary_directory.hpp"

namespace {

using tandem::detail::CpuSources;
using tandem::testing::TemporaryDirectory;

// A made-up machine of 16 CPUs whose files are in a directory of the test's own.
class CpuCountTest : public testing::Test {
 protected:
  CpuCountTest() {
    unsetenv("TANDEM_CPU_LIMIT");
    sources_.proc = (root_ / "proc").string();
    sources_.cgroup = (root_ / "cgroup").string();
    sources_.affinity_call = false;
    sources_.online = 16;
  }
  ~CpuCountTest() override { unsetenv("TANDEM_CPU_LIMIT"); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::size_t count() const { return tandem::detail::cpu_count(sources_); }
  std::size_t cores() const { return tandem::detail::physical_core_count(sources_); }

  const TemporaryDirectory directory_{"cpu"};
  const std::filesystem::path& root_ = directory_.path();
  CpuSources sources_;
};

TEST_F(CpuCountTest, IsWhatTheMachineHasWithoutAnyLimit) {
  EXPECT_EQ(count(), 16u);
  EXPECT_GE(tandem::cpu_count(), 1u);
  EXPECT_LE(tandem::cpu_count(), std::max(1u, std::thread::hardware_concurrency()));
}

// PRC-36
TEST_F(CpuCountTest, HonoursTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(tandem::cpu_count(), 1u);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  EXPECT_LE(tandem::cpu_count(), static_cast<std::size_t>(CPU_COUNT(&before)));
}

// PRC-37: the other source is the thread's status file, for where the system call is refused.
TEST_F(CpuCountTest, HonoursTheAffinityMaskOfTheStatusFile) {
  write("proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-3,8,10-11\nMems_allowed:\t1\n");
  EXPECT_EQ(count(), 7u);
  write("proc/self/status", "Cpus_allowed_list:\tseven\n");
  EXPECT_EQ(count(), 16u);
}

TEST_F(CpuCountTest, StatusFileAgreesWithTheSystemCall) {
  CpuSources by_call;
  by_call.cgroup = sources_.cgroup;
  CpuSources by_file = by_call;
  by_file.affinity_call = false;
  EXPECT_EQ(tandem::detail::cpu_count(by_call), tandem::detail::cpu_count(by_file));
}

// PRC-38
TEST_F(CpuCountTest, HonoursAQuotaOfCgroupVersion2RoundedUp) {
  write("proc/self/cgroup", "0::/\n");
  write("cgroup/cpu.max", "250000 100000\n");
  EXPECT_EQ(count(), 3u);
  write("cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(count(), 16u);
  write("cgroup/cpu.max", "5000 100000\n");
  EXPECT_EQ(count(), 1u);
}

// PRC-38
TEST_F(CpuCountTest, HonoursTheLeastQuotaOnTheWayToTheRoot) {
  write("proc/self/cgroup", "0::/kube/pod/container\n");
  write("cgroup/cpu.max", "1200000 100000\n");
  write("cgroup/kube/pod/cpu.max", "400000 100000\n");
  write("cgroup/kube/pod/container/cpu.max", "800000 100000\n");
  write("cgroup/kube/other/cpu.max", "100000 100000\n");
  EXPECT_EQ(count(), 4u);
}

// PRC-38
TEST_F(CpuCountTest, HonoursAQuotaOfCgroupVersion1) {
  write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/docker/abc\n0::/\n");
  write("cgroup/cpu/docker/cpu.cfs_quota_us", "600000\n");
  write("cgroup/cpu/docker/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(count(), 6u);
  // What a container sees where its group is mounted as the root.
  write("cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  write("cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(count(), 2u);
  write("cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(count(), 6u);
}

// PRC-39
TEST_F(CpuCountTest, IgnoresMalformedQuotaFiles) {
  write("proc/self/cgroup", "rubbish\n0::/../..\n4:cpu:relative\n");
  for (const char* text : {"", "\n", "200000", "two 100000", "200000 100000 7", "200000 0", "-5 100000", "1e5 1e5",
                           "99999999999999999999 100000"}) {
    write("cgroup/cpu.max", text);
    EXPECT_EQ(count(), 16u) << text;
  }
  write("cgroup/cpu/cpu.cfs_quota_us", "100000\n");
  EXPECT_EQ(count(), 16u) << "without a period";
}

TEST_F(CpuCountTest, HonoursTheUsersLimit) {
  setenv("TANDEM_CPU_LIMIT", "3", 1);
  EXPECT_EQ(count(), 3u);
  setenv("TANDEM_CPU_LIMIT", "300", 1);
  EXPECT_EQ(count(), 16u);
  setenv("TANDEM_CPU_LIMIT", "", 1);
  EXPECT_EQ(count(), 16u);
}

TEST_F(CpuCountTest, RefusesAMalformedUsersLimitByName) {
  for (const char* text : {"0", "-1", "two", "2.5", "2 ", " 2", "99999999999999999999"}) {
    setenv("TANDEM_CPU_LIMIT", text, 1);
    EXPECT_THAT([&] { count(); }, testing::ThrowsMessage<std::invalid_argument>(
                                      testing::AllOf(testing::HasSubstr("TANDEM_CPU_LIMIT"), testing::HasSubstr(text))))
        << text;
  }
}

// PRC-40
TEST_F(CpuCountTest, PhysicalCoresThatCannotBeCountedWarnOnceAndFallBack) {
  sources_.count_cores = [] { return -1; };
  testing::internal::CaptureStderr();
  EXPECT_EQ(cores(), 16u);
  EXPECT_EQ(cores(), 16u);
  const std::string warning = testing::internal::GetCapturedStderr();
  EXPECT_THAT(warning, testing::MatchesRegex(".* warning: cannot count the physical cores[^\n]*16[^\n]*\n"));
}

// PRC-41
TEST_F(CpuCountTest, TheUsersLimitWinsOverThePhysicalCores) {
  sources_.count_cores = [] { return 8; };
  EXPECT_EQ(cores(), 8u);
  setenv("TANDEM_CPU_LIMIT", "2", 1);
  EXPECT_EQ(cores(), 2u);
  setenv("TANDEM_CPU_LIMIT", "12", 1);
  EXPECT_EQ(cores(), 8u);
}

TEST_F(CpuCountTest, PhysicalCoresOfThisMachineAreAtMostItsCpus) {
  EXPECT_GE(tandem::physical_core_count(), 1u);
  EXPECT_LE(tandem::physical_core_count(), tandem::cpu_count());
}

}  // namespace
