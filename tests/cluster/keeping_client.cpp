#include "cluster/keeping_client.hpp"

#include <chrono>
#include <utility>
#include <vector>

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookEvery{500};

}  // namespace

KeepingClient::KeepingClient(EngineKind kind, const EngineOptions& options)
    : engine_(connect_client(kind, options, "client-1", *this)) {}

void KeepingClient::add(std::uint64_t count, const std::string& work) {
  const detail::MutexGuard guard(mutex_);
  for (std::uint64_t i = 0; i < count; ++i, ++added_) pending_[added_].payload = work + " " + std::to_string(added_);
}

template <class Condition>
bool KeepingClient::drive(Condition done) {
  const detail::Deadline deadline = detail::Deadline::after(kPatience);
  auto look_at = std::chrono::steady_clock::now() + kLookEvery;
  while (!deadline.passed()) {
    submit_what_waits();
    if (std::chrono::steady_clock::now() >= look_at) {
      look();
      look_at = std::chrono::steady_clock::now() + kLookEvery;
    }
    const detail::MutexGuard guard(mutex_);
    if (done()) return true;
    changed_.wait_for(mutex_, milliseconds(100));
    if (done()) return true;
  }
  return false;
}

bool KeepingClient::run_until(std::uint64_t results) {
  return drive([&]() TANDEM_NO_THREAD_SAFETY_ANALYSIS { return results_.size() >= results; });
}

bool KeepingClient::run_until_stored() {
  return drive([&]() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    for (const auto& [number, task] : pending_) {
      if (task.step != Step::Stored) return false;
    }
    return true;
  });
}

void KeepingClient::submit_what_waits() {
  std::vector<std::pair<ClusterTaskId, std::string>> waiting;
  {
    const detail::MutexGuard guard(mutex_);
    for (auto& [number, task] : pending_) {
      if (task.step != Step::ToSubmit) continue;
      task.step = Step::Submitted;
      waiting.emplace_back(ClusterTaskId{"client-1", number, task.attempt}, task.payload);
    }
  }
  for (const auto& [id, payload] : waiting) {
    if (engine_->submit(id, bytes_of(payload), {}, milliseconds(50))) continue;
    const detail::MutexGuard guard(mutex_);
    if (const auto found = pending_.find(id.number); found != pending_.end()) found->second.step = Step::ToSubmit;
  }
}

// Two looks without progress at which the engine holds less than is waited for: it has forgotten something.
void KeepingClient::look() {
  const std::optional<Census> census = engine_->census();
  const detail::MutexGuard guard(mutex_);
  if (!census || results_.size() != results_at_look_ || census->tasks + census->results >= pending_.size()) {
    looks_ = 0;
    results_at_look_ = results_.size();
    return;
  }
  if (++looks_ < 2) return;
  looks_ = 0;
  ++recoveries_;
  for (auto& [number, task] : pending_) {
    ++task.attempt;
    task.step = Step::ToSubmit;
  }
}

std::map<std::uint64_t, int> KeepingClient::results() const {
  const detail::MutexGuard guard(mutex_);
  return results_;
}

void KeepingClient::on_stored(const ClusterTaskId& id, const std::vector<std::string>&) {
  const detail::MutexGuard guard(mutex_);
  const auto found = pending_.find(id.number);
  if (found != pending_.end() && found->second.attempt == id.attempt) found->second.step = Step::Stored;
  changed_.notify_all();
}

void KeepingClient::on_submit_error(const ClusterTaskId& id, const std::string&) {
  const detail::MutexGuard guard(mutex_);
  const auto found = pending_.find(id.number);
  if (found != pending_.end() && found->second.attempt == id.attempt) found->second.step = Step::ToSubmit;
}

void KeepingClient::on_result(const ClusterTaskId& id, const std::string&, std::vector<std::byte> result) {
  const detail::MutexGuard guard(mutex_);
  EXPECT_EQ(text_of(result), std::to_string(id.number));
  ++results_[id.number];
  pending_.erase(id.number);
  changed_.notify_all();
}

}  // namespace tandem::testing
