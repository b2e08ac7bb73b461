// What executors write into a trace, and that it can be opened however the program ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <tandem/executor.hpp>

#include "core/trace_file.hpp"
#include "support/executor_places.hpp"
#include "support/journal_fixture.hpp"

namespace tandem::testing {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

int fail(int value) {
  throw std::runtime_error("no \"value\" " + std::to_string(value));
}
void die() {
  std::raise(SIGKILL);
}
int spin(int value) {
  const auto until = std::chrono::steady_clock::now() + 2ms;
  while (std::chrono::steady_clock::now() < until) continue;
  return value;
}

/// Where traces are; each test names files of its own, since files stay open.
class TraceTest : public ReportFixture {
 protected:
  void SetUp() override {
    static int number = 0;  // A name is not used again: the file of the last one is still open.
    file_ = "/tmp/tandem_test_trace_" + std::to_string(::getpid()) + "_" + std::to_string(number++);
    if (opens_here()) static_cast<void>(detail::TraceFile::open(file_, true));
    ReportFixture::SetUp();
  }
  void TearDown() override {
    ReportFixture::TearDown();
    std::filesystem::remove(file_);
  }
  bool keep_services() const override { return true; }
  virtual bool opens_here() const { return true; }
  const std::string& file() const { return file_; }

  /// All events, in a file whose end may be missing.
  static std::vector<json> events(const std::string& text) {
    const std::string whole = text.ends_with("]\n") ? text : text + "]";
    return json::parse(whole).get<std::vector<json>>();
  }
  std::vector<json> events() const { return events(content_of(file_)); }
  /// The names that workers were given.
  static std::map<std::int64_t, std::string> workers(const std::vector<json>& events) {
    std::map<std::int64_t, std::string> names;
    for (const json& event : events)
      if (event["name"] == "thread_name") names[event["tid"]] = event["args"]["name"];
    return names;
  }
  static int count(const std::vector<json>& events, const std::string& phase, const std::string& outcome = "") {
    int found = 0;
    for (const json& event : events)
      if (event["ph"] == phase && (outcome.empty() || event["args"].value("outcome", "") == outcome)) ++found;
    return found;
  }

 private:
  std::string file_;
};

TEST_F(TraceTest, EachTaskOfAThreadBeginsAndEndsThere) {
  {
    ThreadExecutor executor({.workers = 2, .name_prefix = "spinner", .trace = file()});
    executor.for_each(MapOptions{.chunk_size = 1}, spin, std::views::iota(0, 20));
    executor.submit(TaskOptions{.name = "odd \"name\"\n"}, spin, 1).get();
    EXPECT_THROW(executor.submit(fail, 7).get(), std::runtime_error);
  }
  const std::vector<json> all = events();
  EXPECT_EQ(count(all, "B"), 22);
  EXPECT_EQ(count(all, "E", "done"), 21);
  EXPECT_EQ(count(all, "E", "failed"), 1);
  std::map<std::int64_t, std::pair<int, double>> open;  // Of each worker: how many are open, and the last time.
  bool odd = false;
  for (const json& event : all) {
    if (event["ph"] == "M") continue;
    EXPECT_EQ(event["pid"], ::getpid());
    auto& [depth, last] = open[event["tid"]];
    EXPECT_GE(event["ts"].get<double>(), last);
    last = event["ts"];
    depth += event["ph"] == "B" ? 1 : -1;
    EXPECT_GE(depth, 0);
    EXPECT_LE(depth, 1);
    if (event["name"] == "odd \"name\"\n") odd = true;
    if (event["name"] == "fail" && event["ph"] == "E")
      EXPECT_EQ(event["args"]["error"], "std::runtime_error: no \"value\" 7");
  }
  EXPECT_TRUE(odd);
  for (const auto& [worker, state] : open) {
    EXPECT_EQ(state.first, 0);
    EXPECT_THAT(workers(all)[worker], ::testing::StartsWith("spinner-"));
  }
  EXPECT_EQ(count(all, "B"), [&] {
    int of_functions = 0;
    for (const json& event : all) of_functions += event["ph"] == "B" && event["name"] != "task" ? 1 : 0;
    return of_functions;
  }()) << "tasks of a map have the name of its function";
}

TEST_F(TraceTest, RetriesAndCancellationsAreThere) {
  {
    ThreadExecutor executor({.workers = 1, .trace = file()});
    EXPECT_THROW(executor.submit(TaskOptions{.retries = 2}, fail, 1).get(), std::runtime_error);
    Event begun, go;
    Future<int> held = executor.submit(tasks::hold, begun, go, 1);
    begun.wait();
    Future<int> waiting = executor.submit(spin, 2);
    EXPECT_TRUE(waiting.cancel());
    go.set();
    held.wait();
  }
  const std::vector<json> all = events();
  EXPECT_EQ(count(all, "E", "retried"), 2);
  EXPECT_EQ(count(all, "E", "failed"), 1);
  EXPECT_EQ(count(all, "i", "cancelled"), 1);
}

TEST_F(TraceTest, EachTaskOfAProcessIsThereWithItsWorker) {
  {
    ProcessExecutor executor({.workers = 2, .name_prefix = "child", .trace = file()});
    executor.for_each(MapOptions{.chunk_size = 1}, spin, std::views::iota(0, 20));
    EXPECT_THROW(executor.submit(die).get(), TaskCrashed);
  }
  const std::vector<json> all = events();
  EXPECT_EQ(count(all, "X", "done"), 20);
  EXPECT_EQ(count(all, "X", "failed"), 1);
  for (const json& event : all) {
    if (event["ph"] != "X") continue;
    EXPECT_GE(event["dur"].get<double>(), event["name"] == "spin" ? 2000 : 0);
    EXPECT_THAT(workers(all)[event["tid"]], ::testing::StartsWith("child-"));
  }
}

TEST_F(TraceTest, AFileThatCannotBeWrittenIsNamed) {
  try {
    ThreadExecutor executor({.workers = 1, .trace = "/no/such/folder/trace.json"});
    ADD_FAILURE() << "it was made";
  } catch (const std::system_error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("cannot write the trace /no/such/folder/trace.json"));
  }
}

TEST_F(TraceTest, JsonStringsAreUtf8WhateverIsInThem) {
  EXPECT_EQ(detail::json_string("a\"\\\n\x01"), R"("a\"\\\u000a\u0001")");
  EXPECT_EQ(detail::json_string("\xc3\xa4\xf0\x9f\x98\x80"), "\"\xc3\xa4\xf0\x9f\x98\x80\"");
  for (const char* const bad : {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"})
    EXPECT_TRUE(json::accept(detail::json_string(bad))) << bad;
}

class TraceOfProgramTest : public TraceTest {
 protected:
  bool opens_here() const override { return false; }
  /// Runs a program that traces into the file because its environment says so.
  template <class Body>
  int run(Body body) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("TANDEM_TRACE", file().c_str(), 1);
      body();
      std::exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }
};

TEST_F(TraceOfProgramTest, AKilledProgramLeavesAFileThatOpens) {
  const int status = run([] {
    ThreadExecutor executor(2);
    int count = 0;
    for (int value : executor.map(MapOptions{.chunk_size = 1}, spin, std::views::iota(0, 1000)))
      if (value >= 0 && ++count == 50) std::raise(SIGKILL);
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  const std::vector<json> all = events();
  EXPECT_GE(count(all, "E", "done"), 50);
  EXPECT_FALSE(content_of(file()).ends_with("]\n"));
}

TEST_F(TraceOfProgramTest, AProgramThatEndsLeavesStrictJson) {
  EXPECT_EQ(run([] {
              for (int round = 0; round < 2; ++round) {
                ThreadExecutor executor(2);
                executor.for_each(spin, std::views::iota(0, 10));
              }
            }),
            0);
  EXPECT_TRUE(json::accept(content_of(file()))) << content_of(file());
}

}  // namespace
}  // namespace tandem::testing
