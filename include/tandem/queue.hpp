#pragma once

#include <cstddef>
#include <functional>
#include <utility>

#include <tandem/detail/any_queue.hpp>
#include <tandem/detail/item_order.hpp>
#include <tandem/error.hpp>
#include <tandem/wire.hpp>

namespace tandem {

/// A first-in first-out queue shared by threads and by processes. Handle: copies refer to one queue.
///
///   tandem::Queue<int> answers;
///   tandem::Process p(solve, answers);   // void solve(tandem::Queue<int>)
///   p.start();
///   int first = answers.get();
///
/// Threads and processes: every member may be called at once from any thread of any process of the family. Items put by
/// one thread are taken in the order in which it put them. Not for signal handlers.
/// Killed peers: an item whose put() returned is never lost. An item that a killed process had taken but not returned
/// from get() with is handed to another, in front of what waits when the death is noticed, which takes about 100 ms at
/// the most. An item that a killed process had got counts as done for join(). See docs/internals/queue.md.
/// Errors: QueueClosed (see close()); WireError if an item cannot be decoded, which then is taken and counts as not
/// done; std::invalid_argument for a negative timeout; std::system_error if the arena is full, and then nothing was
/// put. Units: capacity in items, timeouts on the steady clock. Cost: one copy in and one out, made outside any lock
/// for items of more than a cache line; a system call only to wake a sleeper or to sleep. Items of any size; memory
/// grows with the items waiting and is reused.
template <Portable T>
class Queue : public detail::AnyQueue<Queue<T>, T> {
 public:
  /// Makes a queue that takes any number of items.
  Queue() : Queue(0) {}
  /// Makes a queue in which put() waits while `capacity` items are waiting; 0 means no bound, as in Python.
  explicit Queue(std::size_t capacity) : Base(kObjectKind, capacity) {}

 private:
  friend struct detail::HandleAccess;
  using Base = detail::AnyQueue<Queue, T>;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::Queue;
  explicit Queue(detail::SharedObjectPtr object) : Base(std::move(object)) {}
};

/// A last-in first-out queue, a stack, shared by threads and by processes. Handle: copies refer to one queue.
///
///   tandem::LifoQueue<Node> open;           // depth-first search: what was found last is looked at first
///   tandem::Process p(search, open);        // void search(tandem::LifoQueue<Node>)
///
/// Threads and processes: every member may be called at once from any thread of any process of the family. The item
/// that was put last by whichever thread is taken first. Not for signal handlers. Killed peers: as with Queue; an item
/// that a killed process had taken but not returned from get() with is put back on top when the death is noticed.
/// Errors, units, cost: as with Queue.
template <Portable T>
class LifoQueue : public detail::AnyQueue<LifoQueue<T>, T> {
 public:
  /// Makes a queue that takes any number of items.
  LifoQueue() : LifoQueue(0) {}
  /// Makes a queue in which put() waits while `capacity` items are waiting; 0 means no bound, as in Python.
  explicit LifoQueue(std::size_t capacity) : Base(kObjectKind, capacity) {}

 private:
  friend struct detail::HandleAccess;
  using Base = detail::AnyQueue<LifoQueue, T>;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::LifoQueue;
  explicit LifoQueue(detail::SharedObjectPtr object) : Base(std::move(object)) {}
};

/// A queue that gives the smallest item first, shared by threads and by processes. Handle: copies refer to one queue.
///
///   struct Job { int priority; int number; bool operator<(const Job& other) const { return priority < other.priority;
///   } }; tandem::PriorityQueue<Job> jobs; jobs.put({2, 1}); jobs.put({1, 2}); jobs.get(); // {1, 2}
///
/// `Compare(a, b)` says whether `a` comes before `b`, and must be a strict weak order, the same in every process. Equal
/// items come in the order in which they were put. Compare has no state: each process makes its own.
///
/// Threads and processes: every member may be called at once from any thread of any process of the family. Not for
/// signal handlers. Comparing runs under the queue's lock, so others wait for it. It must not use a queue, this or
/// another (std::logic_error), nor make shared objects. Killed peers: as with Queue; an item that a killed process had
/// taken but not returned from get() with goes back to where its priority puts it, in front of equal ones that were put
/// later. Errors: as with Queue. If comparing throws, so does the member that compared: nothing was put or taken. If
/// that happens while items go back that were taken, those may come later than is their turn. Items that cannot be
/// decoded come first. Units: as with Queue. Cost: as with Queue, and for n items waiting about 2 comparisons to put
/// and log2(n) + 2 to get, under the lock. If T is not trivially copyable, each comparison decodes the items that it
/// looks at: 3 to put, 2 * log2(n) + 4 to get. So keep items that are compared small: a large part that is not compared
/// can travel in a queue of its own. Source: the search for the place of the last item goes down first, then up: I.
/// Wegener, Bottom-up heapsort (1993).
template <Portable T, class Compare = std::less<T>>
  requires detail::GiveAComparisonWithoutState<Compare> && detail::GiveItLessThanOrAComparison<Compare, T>
class PriorityQueue : public detail::AnyQueue<PriorityQueue<T, Compare>, T> {
 public:
  /// Makes a queue that takes any number of items.
  PriorityQueue() : PriorityQueue(0) {}
  /// Makes a queue in which put() waits while `capacity` items are waiting; 0 means no bound, as in Python.
  explicit PriorityQueue(std::size_t capacity) : Base(kObjectKind, capacity, detail::count_wins<T, Compare>) {}

 private:
  friend struct detail::HandleAccess;
  using Base = detail::AnyQueue<PriorityQueue, T>;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::PriorityQueue;
  explicit PriorityQueue(detail::SharedObjectPtr object) : Base(std::move(object), detail::count_wins<T, Compare>) {}
};

}  // namespace tandem
