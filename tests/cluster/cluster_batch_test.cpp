// Small tasks that travel together: each of them stays on its own, whatever becomes of the others.
#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <tandem/cluster.hpp>

#include "cluster/batch_message.hpp"
#include "cluster/cluster_fixture.hpp"
#include "cluster/local_cluster.hpp"
#include "cluster/task_pace.hpp"
#include "support/executor_places.hpp"

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

TEST(BatchMessageTest, ItemsComeBackAsTheyWere) {
  std::vector<std::byte> payload;
  detail::add_to_batch(payload, {7, 1, {std::byte{1}, std::byte{2}}});
  detail::add_to_batch(payload, {~std::uint64_t{0}, 3, {}});
  const std::vector<detail::BatchItem> items = detail::decode_batch(payload);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].number, 7u);
  EXPECT_EQ(items[0].attempt, 1u);
  EXPECT_EQ(items[0].bytes, (std::vector{std::byte{1}, std::byte{2}}));
  EXPECT_EQ(items[1].number, ~std::uint64_t{0});
  EXPECT_EQ(items[1].attempt, 3u);
  EXPECT_TRUE(items[1].bytes.empty());
  EXPECT_TRUE(detail::decode_batch({}).empty());
}

TEST(BatchMessageTest, WhatIsNoBatchIsRefused) {
  std::vector<std::byte> payload;
  detail::add_to_batch(payload, {7, 1, {std::byte{1}, std::byte{2}}});
  for (std::size_t size = 1; size < payload.size(); ++size)
    EXPECT_THROW(static_cast<void>(detail::decode_batch(std::span(payload).first(size))), WireError) << size;
  payload[12] = std::byte{0xff};  // The size of its bytes.
  EXPECT_THROW(static_cast<void>(detail::decode_batch(payload)), WireError);
}

int kill_the_agent() {
  ::kill(agent_pid(), SIGKILL);
  ::pause();
  return 0;
}
int doubled_unless(int value, int what, int bad) {
  return value == bad ? what == 0 ? kill_the_agent() : die(what) : 2 * value;
}
int hold_if(int value, int which, const std::string& begun, const std::string& go) {
  return value == which ? say_and_hold(begun, go, 2 * value) : 2 * value;
}

int hear_and_say(const std::string& begun, const std::string& go, int value) {
  hear(begun);
  say(go, "go");
  return value;
}
bool ended_within(const detail::Fd& pidfd, milliseconds time) {
  pollfd wait{pidfd.get(), POLLIN, 0};
  return detail::retry_on_signal([&] { return ::poll(&wait, 1, static_cast<int>(time.count())); }) != 0;
}

// For one request on a busy machine.
constexpr std::int64_t kPatienceMs = 60'000;

class ClusterBatchTest : public ClusterFixture {
 protected:
  void SetUp() override {
    ClusterFixture::SetUp();
    // Under a sanitizer, or on a busy machine, no call is short.
    detail::assumed_call_nanoseconds = 100'000;
  }
  void TearDown() override {
    detail::assumed_call_nanoseconds = 0;
    ClusterFixture::TearDown();
  }
  /// Calls until several have gone in one message.
  static void get_batches(ClusterExecutor& executor, const LocalCluster& local) {
    for (;;) {
      const std::uint64_t before = messages(local);
      std::vector<Future<int>> futures;
      for (int call = 0; call < 500; ++call) futures.push_back(executor.submit(tasks::twice, call));
      for (int call = 0; call < 500; ++call) ASSERT_EQ(futures[static_cast<std::size_t>(call)].get(), 2 * call);
      if (messages(local) - before < 250) return;  // The test's watchdog ends what never comes here.
    }
  }
  /// How many the queue of tasks has ever taken.
  static std::uint64_t messages(const LocalCluster& local) {
    struct Destroy {
      void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
      void operator()(natsConnection* connection) const { natsConnection_Destroy(connection); }
      void operator()(jsCtx* context) const { jsCtx_Destroy(context); }
      void operator()(jsStreamInfo* info) const { jsStreamInfo_Destroy(info); }
    };
    natsOptions* options = nullptr;
    EXPECT_EQ(natsOptions_Create(&options), NATS_OK);
    const std::unique_ptr<natsOptions, Destroy> keep_options(options);
    EXPECT_EQ(natsOptions_SetURL(options, local.url().c_str()), NATS_OK);
    EXPECT_EQ(natsOptions_SetToken(options, local.keeper()->token().c_str()), NATS_OK);
    EXPECT_EQ(natsOptions_SetTimeout(options, kPatienceMs), NATS_OK);
    natsConnection* connection = nullptr;
    EXPECT_EQ(natsConnection_Connect(&connection, options), NATS_OK);
    const std::unique_ptr<natsConnection, Destroy> keep_connection(connection);
    jsCtx* context = nullptr;
    jsOptions patient;
    EXPECT_EQ(jsOptions_Init(&patient), NATS_OK);
    patient.Wait = kPatienceMs;
    EXPECT_EQ(natsConnection_JetStream(&context, connection, &patient), NATS_OK);
    const std::unique_ptr<jsCtx, Destroy> keep_context(context);
    jsStreamInfo* info = nullptr;
    EXPECT_EQ(js_GetStreamInfo(&info, context, "tandem_tasks_default", nullptr, nullptr), NATS_OK);
    const std::unique_ptr<jsStreamInfo, Destroy> keep_info(info);
    return info == nullptr ? 0 : info->State.LastSeq;
  }
};

TEST_F(ClusterBatchTest, CrashOfATaskCostsOnlyItself) {
  const LocalCluster local = cluster(2, 1);
  ClusterExecutor executor(local);
  get_batches(executor, local);
  std::vector<Future<int>> futures;
  for (int call = 0; call < 200; ++call) futures.push_back(executor.submit(doubled_unless, call, SIGSEGV, 57));
  for (int call = 0; call < 200; ++call) {
    const Future<int>& future = futures[static_cast<std::size_t>(call)];
    if (call == 57) {
      EXPECT_THROW(future.get(), TaskCrashed);
    } else {
      EXPECT_EQ(future.get(), 2 * call);
    }
  }
}

TEST_F(ClusterBatchTest, TaskThatIsLongKeepsNoOther) {
  // An agent that was held up must not lose its tasks: another one would wait for a second word.
  const LocalCluster local = cluster(2, 1, milliseconds(10'000));
  ClusterExecutor executor(local);
  get_batches(executor, local);
  std::vector<Future<int>> futures;
  for (int call = 0; call < 200; ++call)
    futures.push_back(executor.submit(hold_if, call, 57, pipe("begun"), pipe("go")));
  hear(pipe("begun"));
  for (int call = 0; call < 200; ++call)
    if (call != 57) EXPECT_EQ(futures[static_cast<std::size_t>(call)].get(), 2 * call);
  EXPECT_FALSE(futures[57].done());
  say(pipe("go"), "go");
  EXPECT_EQ(futures[57].get(), 114);
}

TEST_F(ClusterBatchTest, StoppedTaskIsTheOnlyOne) {
  const LocalCluster local = cluster(1, 1);
  ClusterExecutor executor(local);
  get_batches(executor, local);
  std::vector<Future<int>> futures;
  for (int call = 0; call < 200; ++call)
    futures.push_back(executor.submit(hold_if, call, 57, pipe("begun"), pipe("go")));
  hear(pipe("begun"));
  EXPECT_TRUE(futures[57].stop());
  for (int call = 0; call < 200; ++call)
    if (call != 57) EXPECT_EQ(futures[static_cast<std::size_t>(call)].get(), 2 * call);
  EXPECT_THROW(futures[57].get(), TaskCancelled);
}

TEST_F(ClusterBatchTest, TaskThatTakesItsAgentsAlongTakesNoOther) {
  // A lease that ends on a busy machine would count as another death.
  const LocalCluster local = cluster(2, 1, milliseconds(5000));
  ClusterExecutor executor(local, ClusterOptions{.most_deliveries = 2});
  get_batches(executor, local);
  std::vector<Future<int>> futures;
  for (int call = 0; call < 100; ++call) futures.push_back(executor.submit(doubled_unless, call, 0, 57));
  for (int call = 0; call < 100; ++call) {
    const Future<int>& future = futures[static_cast<std::size_t>(call)];
    if (call == 57) {
      EXPECT_THROW(future.get(), TaskCrashed);
    } else {
      EXPECT_EQ(future.get(), 2 * call);
    }
  }
}

TEST_F(ClusterBatchTest, AgentThatLeavesSendsBackWhatItHas) {
  // An agent that was held up must not lose its tasks: another one would wait for a second word.
  const LocalCluster local = cluster(2, 1, milliseconds(10'000));
  ClusterExecutor executor(local);
  get_batches(executor, local);
  std::vector<Future<int>> futures;
  for (int call = 0; call < 200; ++call)
    futures.push_back(executor.submit(hold_if, call, 57, pipe("begun"), pipe("go")));
  const pid_t agent = std::stoi(hear(pipe("begun")));
  // The second signal takes its time away: what runs goes to another one.
  ASSERT_EQ(::kill(agent, SIGTERM), 0);
  const detail::Fd end = pidfd_of(agent);
  std::thread second([&] {
    while (end && ::kill(agent, SIGTERM) == 0 && !ended_within(end, milliseconds(100))) continue;
  });
  hear(pipe("begun"));
  second.join();
  say(pipe("go"), "go");
  for (int call = 0; call < 200; ++call) EXPECT_EQ(futures[static_cast<std::size_t>(call)].get(), 2 * call);
}

TEST_F(ClusterBatchTest, TasksThatWaitForEachOtherMeet) {
  const LocalCluster local = cluster(2, 1);
  ClusterExecutor executor(local);
  get_batches(executor, local);
  // Two at once, of which the first ends when the second has begun: there are two slots.
  const Future<int> first = executor.submit(say_and_hold, pipe("begun"), pipe("go"), 1);
  const Future<int> second = executor.submit(hear_and_say, pipe("begun"), pipe("go"), 2);
  EXPECT_EQ(first.get(), 1);
  EXPECT_EQ(second.get(), 2);
}

}  // namespace
}  // namespace tandem::testing
