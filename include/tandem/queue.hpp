/// Queues between threads and between processes: first in, first out; last in, first out; the smallest first.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <utility>

#include <tandem/detail/any_queue.hpp>
#include <tandem/detail/item_order.hpp>
#include <tandem/detail/locked_queue_core.hpp>
#include <tandem/detail/ring_queue_core.hpp>
#include <tandem/error.hpp>
#include <tandem/queue_view.hpp>
#include <tandem/wire.hpp>

namespace tandem {

/// A first-in first-out queue shared by threads and by processes. Handle: copies refer to one queue.
///
///   tandem::Queue<int> answers;
///   tandem::Process p(solve, answers);   // void solve(tandem::Queue<int>)
///   p.start();
///   int first = answers.get();
///
/// Threads and processes: every member may be called at once from any thread of any process of the family. Items
/// put by one thread are taken in the order in which it put them. Not for signal handlers.
/// Killed peers: an item whose put() returned is never lost. An item that a killed process had taken but not
/// returned from get() with is handed to another, in front of what waits when the death is noticed, which takes
/// about 100 ms at the most. An item that a killed process had got counts as done for join(). See
/// docs/internals/queue.md.
/// Errors: QueueClosed (see close()); WireError if an item cannot be decoded, which then is taken and counts as not
/// done; std::invalid_argument for a negative timeout; std::system_error if the arena is full, and then nothing was
/// put.
/// Units: capacity in items, timeouts on the steady clock.
/// Cost: no lock; some tens of nanoseconds to put or to take a small item, one copy in and one out; a system call only
/// to wake a sleeper or to sleep. Items of any size; memory grows with the items waiting, is reused, and goes with the
/// queue.
template <Portable T>
class Queue : public detail::AnyQueue<Queue<T>, T, detail::RingQueueCore> {
 public:
  /// Makes a queue that takes any number of items.
  Queue() : Queue(0) {}
  /// Makes a queue in which put() waits while `capacity` items are waiting; 0 means no bound, as in Python.
  explicit Queue(std::size_t capacity) : Base(detail::RingQueueCore(capacity, kPlainBytes)) {}

  /// Takes the first item without copying it; waits while there is none. Throws QueueClosed once closed and drained.
  /// See QueueView.
  [[nodiscard]] QueueView<T> get_view()
    requires detail::GiveAnItemThatLiesInOnePiece<T>
  {
    return QueueView<T>(Base::lend(detail::Deadline::never()));
  }
  /// As get_view(), but gives up after `timeout`: without an item.
  template <class Rep, class Period>
  [[nodiscard]] QueueView<T> get_view_for(std::chrono::duration<Rep, Period> timeout)
    requires detail::GiveAnItemThatLiesInOnePiece<T>
  {
    return view_or_none(detail::Deadline::after(timeout));
  }
  /// As get_view(), but does not wait: without an item if there is none.
  [[nodiscard]] QueueView<T> try_get_view()
    requires detail::GiveAnItemThatLiesInOnePiece<T>
  {
    return view_or_none(detail::Deadline::now());
  }

 private:
  friend struct detail::HandleAccess;
  using Base = detail::AnyQueue<Queue, T, detail::RingQueueCore>;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::Queue;
  QueueView<T> view_or_none(const detail::Deadline& deadline)
    requires detail::GiveAnItemThatLiesInOnePiece<T>
  {
    detail::LentItem item = Base::lend(deadline);
    return item.has_value() ? QueueView<T>(std::move(item)) : QueueView<T>();
  }

  static constexpr std::size_t kPlainBytes = detail::kTriviallyPortable<T> ? sizeof(T) : 0;
  explicit Queue(detail::SharedObjectPtr object) : Base(detail::RingQueueCore(std::move(object))) {}
};

/// A last-in first-out queue, a stack, shared by threads and by processes. Handle: copies refer to one queue.
///
///   tandem::LifoQueue<Node> open;           // depth-first search: what was found last is looked at first
///   tandem::Process p(search, open);        // void search(tandem::LifoQueue<Node>)
///
/// It has the members of Queue and keeps its promises; the first item is the one that was put last, by whichever
/// thread.
///
/// Threads and processes: as with Queue.
/// Killed peers: as with Queue, but an item that a killed process had taken and not returned from get() with goes
/// back on top of what waits when the death is noticed.
/// Errors, units, cost: as with Queue.
template <Portable T>
class LifoQueue : public detail::AnyQueue<LifoQueue<T>, T, detail::LockedQueueCore> {
 public:
  /// Makes a queue that takes any number of items.
  LifoQueue() : LifoQueue(0) {}
  /// Makes a queue in which put() waits while `capacity` items are waiting; 0 means no bound, as in Python.
  explicit LifoQueue(std::size_t capacity) : Base(Core(kObjectKind, capacity, nullptr)) {}

 private:
  friend struct detail::HandleAccess;
  using Core = detail::LockedQueueCore;
  using Base = detail::AnyQueue<LifoQueue, T, Core>;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::LifoQueue;
  explicit LifoQueue(detail::SharedObjectPtr object) : Base(Core(std::move(object), nullptr)) {}
};

/// A queue that gives the smallest item first, shared by threads and by processes. Handle: copies refer to one
/// queue.
///
///   tandem::PriorityQueue<std::pair<int, std::string>> jobs;
///   jobs.put({2, "sweep"});
///   jobs.put({1, "save"});
///   jobs.get().second;                      // "save"
///
/// It has the members of Queue and keeps its promises; the first item is the smallest one, and of equal ones the
/// one that was put first. `Compare(a, b)` says whether `a` comes before `b`: a strict weak order, the same in
/// every process. It has no state, because each process makes its own.
///
/// Threads and processes: as with Queue. Comparing, with the decoding that it needs, runs under the queue's lock,
/// so the others wait for it;it must not use a PriorityQueue, this or another (std::logic_error).
/// Killed peers: as with Queue, but an item that a killed process had taken and not returned from get() with goes
/// back to where its priority puts it, in front of equal ones that were put later. Who is killed while comparing
/// changes nothing.
/// Errors: as with Queue. If comparing throws, so does the member that compared, and nothing was put or taken;
/// items that go back at that moment may come later than is their turn. Items that cannot be decoded come before
/// all others.
/// Units: as with Queue.
/// Cost: as with Queue, and for n items waiting about 2 comparisons to put and log2(n) + 2 to get, under the lock.
/// If T is not trivially copyable, each comparison decodes what it looks at: about 3 items to put and 2 * log2(n) +
/// 4 to get. So keep small what is compared: a large part that is not can travel in a queue of its own.
/// Source: I. Wegener: Bottom-up heapsort (1993), for the way in which the last item finds its place.
template <Portable T, class Compare = std::less<T>>
  requires detail::GiveAComparisonWithoutState<Compare> && detail::GiveItLessThanOrAComparison<Compare, T>
class PriorityQueue : public detail::AnyQueue<PriorityQueue<T, Compare>, T, detail::LockedQueueCore> {
 public:
  /// Makes a queue that takes any number of items.
  PriorityQueue() : PriorityQueue(0) {}
  /// Makes a queue in which put() waits while `capacity` items are waiting; 0 means no bound, as in Python.
  explicit PriorityQueue(std::size_t capacity) : Base(Core(kObjectKind, capacity, kCountWins)) {}

 private:
  friend struct detail::HandleAccess;
  using Core = detail::LockedQueueCore;
  using Base = detail::AnyQueue<PriorityQueue, T, Core>;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::PriorityQueue;
  static constexpr detail::CountWins kCountWins = detail::count_wins<T, Compare>;
  explicit PriorityQueue(detail::SharedObjectPtr object) : Base(Core(std::move(object), kCountWins)) {}
};

}  // namespace tandem
