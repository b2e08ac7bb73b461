// The code of docs/reference/shared_memory.md, docs/reference/log.md and of what docs/pitfalls.md says of both.
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <system_error>
#include <vector>

#include <tandem/log.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/shared_memory.hpp>

#include "support/shared_memory_fixture.hpp"

namespace tandem::testing {
namespace {

class SharedMemoryReferenceTest : public LeakCheckedTest {
 protected:
  const std::string name = unique_name("frames");
};

TEST_F(SharedMemoryReferenceTest, ByName) {
  // One program:
  tandem::SharedMemory frames = tandem::SharedMemory::create(name, 1 << 20);
  frames.data()[0] = std::byte{1};

  // Another one:
  tandem::SharedMemory seen = tandem::SharedMemory::attach(name);
  EXPECT_EQ(seen.data()[0], std::byte{1});
  EXPECT_FALSE(seen.is_owner());
}

void fill(tandem::SharedMemory samples) {
  for (double& sample : samples.as<double>()) sample = 0.5;
}

TEST_F(SharedMemoryReferenceTest, ByHandle) {
  auto samples = tandem::SharedMemory::create(1000 * sizeof(double));  // its name is made up
  tandem::Process p(fill, samples);
  p.start();
  p.join();
  EXPECT_EQ(samples.as<double>()[999], 0.5);
}

// --- pitfalls

void make_table(std::string called, tandem::Queue<tandem::SharedMemory> tables) {
  auto table = tandem::SharedMemory::create(called, 4096);
  tables.put(table);
}  // the name goes here, with its owner's last copy

TEST_F(SharedMemoryReferenceTest, AHandleOutOfAnEndedOwnerIsStale) {
  tandem::Queue<tandem::SharedMemory> tables;
  tandem::Process p(make_table, name, tables);
  p.start();
  p.join();
  EXPECT_THROW(static_cast<void>(tables.get()), tandem::StaleHandle);
}

void make_table_and_wait(std::string called, tandem::Queue<tandem::SharedMemory> tables, tandem::Queue<bool> taken) {
  auto table = tandem::SharedMemory::create(called, 4096);
  tables.put(table);
  static_cast<void>(taken.get());
}

TEST_F(SharedMemoryReferenceTest, WhoIsToKeepItAdoptsItWhileTheOwnerIsThere) {
  tandem::Queue<tandem::SharedMemory> tables;
  tandem::Queue<bool> taken;
  tandem::Process p(make_table_and_wait, name, tables, taken);
  p.start();
  tandem::SharedMemory table = tables.get();
  EXPECT_TRUE(table.adopt());
  taken.put(true);
  p.join();
  EXPECT_EQ(tandem::SharedMemory::attach(table.name()), table);
}

TEST_F(SharedMemoryReferenceTest, AttachingKeepsTheMemoryAndNotTheName) {
  tandem::SharedMemory owned = tandem::SharedMemory::create(name, 4096);
  tandem::SharedMemory attached = tandem::SharedMemory::attach(name);
  owned.close();
  attached.data()[0] = std::byte{1};  // still there for those who have it
  EXPECT_THROW(static_cast<void>(tandem::SharedMemory::attach(name)), std::system_error);
}

// --- the log

class LogReferenceTest : public LeakCheckedTest {
 protected:
  void TearDown() override {
    set_log_sink({});
    set_log_level(LogLevel::Warning);
    LeakCheckedTest::TearDown();
  }
};

TEST_F(LogReferenceTest, AndASink) {
  std::vector<std::string> lines;
  tandem::set_log_level(tandem::LogLevel::Info);
  tandem::set_log_sink([&lines](const tandem::LogRecord& record) { lines.emplace_back(record.text); });
  tandem::log(tandem::LogLevel::Info, "tables are loaded");
  tandem::log(tandem::LogLevel::Debug, "one by one");  // the level leaves it out
  EXPECT_EQ(lines, std::vector<std::string>{"tables are loaded"});
}

}  // namespace
}  // namespace tandem::testing
