/// A list of threads that wait, each for a word of its own, in the order in which they came.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <tandem/detail/deadline.hpp>

#include "core/kill_point.hpp"
#include "ipc/family.hpp"
#include "ipc/owner.hpp"
#include "ipc/shared_lock.hpp"
#include "sync/owner_lock.hpp"

namespace tandem::detail {

/// One thread that waits. In exactly one list, that of the waiting or that of the spare ones, at every instant.
struct WaitNode {
  /// Whether there may be something to hear, and if not, whether the thread sleeps for it, or is about to.
  enum Wake : std::uint32_t { kQuiet = 0, kHear = 1, kAsleep = 2 };

  Word next;
  Word previous;
  Word owner;    // The thread, as an Owner.
  Word outcome;  // What it was told; 0 while it has been told nothing. Read with the lock, for it may yet be undone.
  Word entered;  // How many had come to the list when it came, itself included.
  std::atomic<std::uint32_t> wake;  // A WaitNode::Wake: a hint, to sleep on.
  std::uint32_t unused;
};
static_assert(sizeof(WaitNode) == 48, "layout in shared memory");

/// The list as it lies in shared memory. All words are guarded by `lock`; a process killed anywhere leaves the list as
/// before or as after its change, and its own nodes in it, for the others to find. Modelled in
/// tests/model/wait_list.pml.
struct WaitListState {
  SharedLock lock;
  Word first;  // Oldest first; also those who have been told and have not left yet.
  Word last;
  Word waiting;  // How many have been told nothing.
  Word spare_first;
  LookInterval look;
  Word entered;  // How many have come so far.

  /// Makes an empty list of zeroed memory.
  void initialise() { lock.initialise(); }
  /// Frees the nodes, when nobody can use the list any more.
  void destroy();
};

/// The lock of a list, and the steps on it; steps are not final before change() is committed, but for those that say
/// so.
class LockedWaitList {
 public:
  explicit LockedWaitList(WaitListState& state) : state_(state) { lock(); }
  /// Wakes who has been told something.
  ~LockedWaitList() {
    if (change_) unlock();
  }
  LockedWaitList(const LockedWaitList&) = delete;
  LockedWaitList& operator=(const LockedWaitList&) = delete;

  WaitListState* operator->() const { return &state_; }
  Transaction& change() { return *change_; }
  void lock() { change_.emplace(state_.lock, Arena::instance().base()); }
  void unlock();

  static WaitNode& at(std::uint64_t node) { return Arena::instance().at<WaitNode>(node); }
  std::uint64_t outcome(std::uint64_t node) const { return get(at(node).outcome); }

  /// Sees to it that there is a spare node. Commits; nothing uncommitted is allowed before. Throws std::system_error if
  /// the arena is full.
  void ensure_spare();
  /// Enters the calling thread as the last, with a spare node, which is returned.
  std::uint64_t enter();
  /// Takes a node off the list.
  void remove(std::uint64_t node);
  /// Tells a thread that has been told nothing; it is woken when the list is unlocked.
  void tell(std::uint64_t node, std::uint64_t outcome) noexcept;
  /// Waits until the thread has been told something. False if the deadline passed first. `round()` is called with the
  /// lock held whenever it is time to look for the dead. In the model: Look, Clear.
  template <class Round>
  bool wait(std::uint64_t node, const Deadline& deadline, Round round) {
    while (outcome(node) == 0) {
      if (state_.look.due()) {
        round();
        continue;
      }
      if (deadline.passed()) return false;
      at(node).wake.store(WaitNode::kQuiet, std::memory_order_relaxed);
      unlock();
      sleep(at(node), deadline);
      lock();
    }
    return true;
  }

 private:
  static void sleep(WaitNode& node, const Deadline& deadline);

  WaitListState& state_;
  std::optional<Transaction> change_;
  std::vector<std::uint64_t> told_;  // To be woken when the list is unlocked.
};

}  // namespace tandem::detail
