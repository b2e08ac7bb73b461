/// What engines tell clients and agents, kept for a test to look at.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <tandem/detail/deadline.hpp>

#include "cluster/engine.hpp"
#include "core/mutex.hpp"

namespace tandem::testing {

using detail::Census;
using detail::ClusterTaskId;
using detail::NodeInfo;
using detail::TaskLease;
using detail::TaskTarget;

/// Far more than anything takes: a test that waits so long has failed.
inline constexpr std::chrono::seconds kPatience{120};

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* const at = reinterpret_cast<const std::byte*>(text.data());
  return {at, at + text.size()};
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What a client was told.
class ClientRecord : public detail::EngineClientEvents {
 public:
  struct Result {
    ClusterTaskId id;
    std::string node;
    std::string text;
  };
  struct Told {
    std::vector<std::pair<ClusterTaskId, std::vector<std::string>>> stored;
    std::vector<ClusterTaskId> errors;
    std::vector<Result> results;
    std::map<std::string, NodeInfo> nodes;
    bool refused = false;

    /// Of how many tasks there is a result: one may come twice.
    std::size_t count_of_finished() const {
      std::set<std::uint64_t> numbers;
      for (const Result& result : results) numbers.insert(result.id.number);
      return numbers.size();
    }
  };

  void on_stored(const ClusterTaskId& id, const std::vector<std::string>& nodes) override {
    const detail::MutexGuard guard(mutex_);
    told_.stored.emplace_back(id, nodes);
    changed_.notify_all();
  }
  void on_submit_error(const ClusterTaskId& id, const std::string&) override {
    const detail::MutexGuard guard(mutex_);
    told_.errors.push_back(id);
    changed_.notify_all();
  }
  void on_result(const ClusterTaskId& id, const std::string& node, std::vector<std::byte> result) override {
    const detail::MutexGuard guard(mutex_);
    told_.results.push_back({id, node, text_of(result)});
    changed_.notify_all();
  }
  void on_node(const NodeInfo& node) override {
    const detail::MutexGuard guard(mutex_);
    told_.nodes[node.node] = node;
    changed_.notify_all();
  }

  void on_refused() override {
    const detail::MutexGuard guard(mutex_);
    told_.refused = true;
    changed_.notify_all();
  }

  Told told() const {
    const detail::MutexGuard guard(mutex_);
    return told_;
  }
  /// Waits until `holds(told)`; false if that takes too long.
  template <class Condition>
  bool wait(Condition holds, std::chrono::milliseconds patience = kPatience) {
    const detail::Deadline deadline = detail::Deadline::after(patience);
    const detail::MutexGuard guard(mutex_);
    while (!holds(std::as_const(told_))) {
      if (deadline.passed()) return false;
      changed_.wait_for(mutex_, deadline.left(patience));
    }
    return true;
  }
  bool wait_stored(std::size_t count) {
    return wait([&](const Told& told) { return told.stored.size() >= count; });
  }
  bool wait_results(std::size_t count) {
    return wait([&](const Told& told) { return told.results.size() >= count; });
  }

 private:
  mutable detail::Mutex mutex_;
  detail::ConditionVariable changed_;
  Told told_;
};

/// What an agent was told.
class AgentRecord : public detail::EngineAgentEvents {
 public:
  void on_cancel(const ClusterTaskId& id) override {
    const detail::MutexGuard guard(mutex_);
    cancels_.push_back(id);
    changed_.notify_all();
  }
  void on_finished(const ClusterTaskId& id) override {
    const detail::MutexGuard guard(mutex_);
    finished_.push_back(id);
    changed_.notify_all();
  }
  void on_refused() override {
    const detail::MutexGuard guard(mutex_);
    refused_ = true;
    changed_.notify_all();
  }
  bool wait_refused() {
    const detail::Deadline deadline = detail::Deadline::after(kPatience);
    const detail::MutexGuard guard(mutex_);
    while (!refused_ && !deadline.passed()) changed_.wait_for(mutex_, deadline.left(kPatience));
    return refused_;
  }
  std::vector<ClusterTaskId> finished() const {
    const detail::MutexGuard guard(mutex_);
    return finished_;
  }
  bool wait_finished(std::size_t count) {
    const detail::Deadline deadline = detail::Deadline::after(kPatience);
    const detail::MutexGuard guard(mutex_);
    while (finished_.size() < count && !deadline.passed()) changed_.wait_for(mutex_, deadline.left(kPatience));
    return finished_.size() >= count;
  }
  std::vector<ClusterTaskId> cancels() const {
    const detail::MutexGuard guard(mutex_);
    return cancels_;
  }
  bool wait_cancels(std::size_t count) {
    const detail::Deadline deadline = detail::Deadline::after(kPatience);
    const detail::MutexGuard guard(mutex_);
    while (cancels_.size() < count && !deadline.passed()) changed_.wait_for(mutex_, deadline.left(kPatience));
    return cancels_.size() >= count;
  }

 private:
  mutable detail::Mutex mutex_;
  detail::ConditionVariable changed_;
  std::vector<ClusterTaskId> cancels_;
  std::vector<ClusterTaskId> finished_;
  bool refused_ = false;
};

/// Leases until there is a task. Fails the test, and is empty, if none comes.
inline TaskLease lease_one(detail::EngineAgent& agent) {
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  while (!deadline.passed()) {
    std::vector<TaskLease> leases = agent.lease(1, std::chrono::seconds(10));
    if (!leases.empty()) return std::move(leases.front());
  }
  ADD_FAILURE() << "no task comes";
  return {};
}

/// Waits until `holds(told)`, and meanwhile submits tasks of "client-1" again that are not known to be stored, as a
/// client must: a server whose disk is busy may take longer for one than the engine waits. `payload_of(number)`; the
/// first `seen` errors were dealt with. False if that takes too long.
template <class Payload, class Condition>
bool submit_again_until(detail::EngineClient& client, ClientRecord& record, Payload payload_of, Condition holds,
                        const TaskTarget& target = {}, std::size_t seen = 0) {
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  for (bool held = false;;) {
    std::vector<ClusterTaskId> again;
    const bool told = record.wait(
        [&](const ClientRecord::Told& now) {
          again.assign(now.errors.begin() + static_cast<std::ptrdiff_t>(seen), now.errors.end());
          return (held = holds(now)) || !again.empty();
        },
        std::chrono::ceil<std::chrono::milliseconds>(deadline.left(kPatience)));
    if (held || !told) return held;
    seen += again.size();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // After a moment: see on_submit_error().
    for (const ClusterTaskId& id : again)
      EXPECT_TRUE(client.submit(id, bytes_of(payload_of(id.number)), target, kPatience));
  }
}

/// Submits a task and waits until it is stored.
inline ClusterTaskId submit_stored(detail::EngineClient& client, ClientRecord& record, std::uint64_t number,
                                   std::string_view payload, const TaskTarget& target = {}) {
  const ClusterTaskId id{"client-1", number, 1};
  const ClientRecord::Told before = record.told();
  EXPECT_TRUE(client.submit(id, bytes_of(payload), target, kPatience));
  EXPECT_TRUE(submit_again_until(
      client, record, [&](std::uint64_t) { return payload; },
      [&](const ClientRecord::Told& told) { return told.stored.size() > before.stored.size(); }, target,
      before.errors.size()));
  return id;
}

/// Waits until the engine has noticed it, as a call may fail by a loss before that is told; false if that takes too
/// long.
inline bool becomes_away(const detail::EngineClient& client) {
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  while (client.state() != detail::EngineState::Away) {
    if (deadline.passed()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

/// Asks until there is an answer: a request may take too long on a busy machine. Fails the test, and is empty, if none
/// comes.
inline Census census_of(detail::EngineClient& client) {
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  while (!deadline.passed()) {
    if (std::optional<Census> census = client.census()) return *std::move(census);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ADD_FAILURE() << "the engine does not say what it holds";
  return {};
}

/// Asks until the answer is as it should be: what is acknowledged is counted a moment later.
template <class Condition>
bool census_becomes(detail::EngineClient& client, Condition holds) {
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  while (!deadline.passed()) {
    const std::optional<Census> census = client.census();
    if (census && holds(*census)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // The server has other things to do.
  }
  return false;
}

}  // namespace tandem::testing
