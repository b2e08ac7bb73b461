/// What comes to an agent with one lease, until its result is handed over.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/batch_message.hpp"
#include "cluster/engine.hpp"
#include "cluster/task_message.hpp"

namespace tandem::detail {

std::string key_of(const ClusterTaskId& id);

/// What came with one lease: a task, or a batch of them. Of those that have ended their outcomes are here.
struct Carrier {
  using Clock = std::chrono::steady_clock;

  TaskLease lease;                  // Without the payload.
  std::vector<BatchItem> outcomes;  // As the result has them.
  std::size_t tasks = 0;
  std::size_t told = 0;  // Outcomes that the client has been told while others ran.
  unsigned parts = 0;
  Clock::time_point since = Clock::now();
  Clock::time_point ended_at;                     // The latest.
  std::optional<Clock::time_point> lost_since{};  // Its lease.
};
using CarrierPtr = std::shared_ptr<Carrier>;

/// Carriers of which tasks run or wait, by key_of() their leases; those of which all have ended, in that order; and the
/// one that is being handed over. Threads: one at a time.
class TaskCarriers {
 public:
  /// `slots`: how many tasks run at once.
  explicit TaskCarriers(std::size_t slots) noexcept : slots_(slots) {}

  /// Null if it is not here.
  CarrierPtr find(const std::string& key) const;
  void add(const std::string& key, CarrierPtr carrier) { running_.emplace(key, std::move(carrier)); }
  /// Takes it out; null if it is not here.
  CarrierPtr drop(const std::string& key);
  /// All of its tasks have ended: it waits for being handed over.
  void end(const CarrierPtr& carrier) { ended_.push_back(carrier); }

  enum class Next {
    Run,           ///< Others of its tasks do.
    HandOver,      ///< It has ended, and waits for that.
    HandOverHere,  ///< The caller is to do it: a small result is there sooner without another thread.
  };
  /// Notes what came of one of its tasks. It may have been dropped by now.
  Next note_outcome(const CarrierPtr& carrier, const ClusterTaskId& id, TaskOutcome outcome);
  /// The next one that has ended is handed over from now on.
  CarrierPtr hand_over();
  void handed_over() noexcept { handing_over_.reset(); }

  /// How many have ended and wait.
  std::size_t ended() const noexcept { return ended_.size(); }
  bool is_handing_over() const noexcept { return handing_over_ != nullptr; }
  bool has_batches() const;
  /// Whether one more may be on its way while all slots are taken.
  bool may_be_one_more() const;
  /// Of all, so that they can be renewed.
  std::vector<TaskLease> leases() const;
  /// Of those that run or wait for being handed over.
  std::vector<ClusterTaskId> ids() const;

  /// What has ended in a batch of which others run on.
  struct Part {
    TaskLease lease;
    std::vector<std::byte> bytes;
    unsigned number = 0;
  };
  /// Those that the client has not been told, of batches in which nothing has ended since `late`.
  std::vector<Part> take_parts(Carrier::Clock::time_point late);

 private:
  const std::size_t slots_;
  std::map<std::string, CarrierPtr> running_;
  double nanoseconds_ = 0;  // What one takes; 0: unknown.
  std::deque<CarrierPtr> ended_;
  CarrierPtr handing_over_;
};

}  // namespace tandem::detail
