#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include <tandem/detail/handle.hpp>
#include <tandem/detail/queue_core.hpp>
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
/// the most. An item that a killed process had got counts as done for join(). See docs/internals/queue.md. Errors:
/// QueueClosed (see close()); WireError if an item cannot be decoded, which then is taken and counts as not done;
/// std::invalid_argument for a negative timeout; std::system_error if the arena is full, and then nothing was put.
/// Units: capacity in items, timeouts on the steady clock.
/// Cost: one copy in and one out, made outside any lock for items of more than a cache line; a system call only to wake
/// a sleeper or to sleep. Items of any size; memory grows with the items waiting and is reused.
template <Portable T>
class Queue {
 public:
  using value_type = T;

  /// Makes a queue that takes any number of items.
  Queue() : core_(0) {}
  /// Makes a queue in which put() waits while `capacity` items are waiting; 0 means no bound, as in Python.
  explicit Queue(std::size_t capacity) : core_(capacity) {}

  /// Appends an item; waits while the queue is full. Throws QueueClosed, also when closed while waiting.
  void put(const T& item) { core_.put(encode_item(item), detail::Deadline::never()); }
  /// As put(), but gives up after `timeout`: false, and nothing was put.
  template <class Rep, class Period>
  [[nodiscard]] bool put_for(const T& item, std::chrono::duration<Rep, Period> timeout) {
    const auto deadline = detail::Deadline::after(timeout);
    return core_.put(encode_item(item), deadline);
  }
  /// As put(), but does not wait: false if the queue is full.
  [[nodiscard]] bool try_put(const T& item) { return core_.put(encode_item(item), detail::Deadline::now()); }

  /// Appends all items of a range in order, waiting whenever the queue is full; items of others may come between. Locks
  /// once for many items, which is what makes it faster than put(). If the queue is closed meanwhile, throws
  /// QueueClosed; if memory ends, std::system_error. The items before that one are then in the queue.
  template <std::input_iterator Iterator, std::sentinel_for<Iterator> End>
  void put_many(Iterator first, End last) {
    detail::QueueCore::Batch batch(core_);
    for (; first != last; ++first) batch.put(encode_item(*first));
    batch.finish();
  }
  template <class Range>
  void put_many(const Range& items) {
    put_many(std::begin(items), std::end(items));
  }

  /// Takes the oldest item; waits while there is none. Throws QueueClosed once closed and drained.
  [[nodiscard]] T get() { return std::move(*take(detail::Deadline::never())); }
  /// As get(), but gives up after `timeout`: empty.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<T> get_for(std::chrono::duration<Rep, Period> timeout) {
    return take(detail::Deadline::after(timeout));
  }
  /// As get(), but does not wait: empty if there is no item.
  [[nodiscard]] std::optional<T> try_get() { return take(detail::Deadline::now()); }

  /// Waits for one item, then takes up to `max_items` of those that are there. Throws QueueClosed once closed and
  /// drained. If an item cannot be decoded, those before it are returned, and the next call meets it first.
  [[nodiscard]] std::vector<T> get_many(std::size_t max_items);
  /// As get_many(), but gives up after `timeout`: an empty vector.
  template <class Rep, class Period>
  [[nodiscard]] std::vector<T> get_many_for(std::size_t max_items, std::chrono::duration<Rep, Period> timeout);

  /// Says that an item taken earlier is dealt with. Throws std::logic_error if called more often than items were put.
  void task_done() { core_.task_done(); }
  /// Waits until every item put so far and meanwhile is marked by task_done(), or the queue is closed by close_now().
  void join() { static_cast<void>(core_.join(detail::Deadline::never())); }
  /// As join(), but gives up after `timeout`: false.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return core_.join(detail::Deadline::after(timeout));
  }

  /// Ends the queue: put() throws from now on, get() goes on until the queue is drained. A second call does nothing.
  void close() { core_.close(/*discard=*/false); }
  /// As close(), and discards what is waiting: get() throws at once and join() returns.
  void close_now() { core_.close(/*discard=*/true); }

  /// Items waiting, at this instant: another thread may change it before the caller looks.
  [[nodiscard]] std::size_t size() const { return core_.size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  /// Whether put() would wait, at this instant.
  [[nodiscard]] bool full() const { return capacity() != 0 && size() >= capacity(); }
  [[nodiscard]] bool closed() const { return core_.closed(); }
  /// The bound given at construction; 0 if none.
  [[nodiscard]] std::size_t capacity() const { return core_.capacity(); }

  /// Takes items until the queue is closed and drained: `for (int part : result)`. Each item is taken when it is
  /// reached, so several loops, in any process, share the items.
  class iterator;
  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// Whether both refer to one queue.
  friend bool operator==(const Queue& a, const Queue& b) noexcept { return a.core_.object() == b.core_.object(); }

 private:
  friend struct detail::HandleAccess;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::Queue;
  explicit Queue(detail::SharedObjectPtr object) : core_(std::move(object)) {}
  const detail::SharedObjectPtr& shared_object() const { return core_.object(); }

  static detail::EncodedItem encode_item(const T& item) { return detail::EncodedItem(std::in_place, item); }
  std::optional<T> take(detail::Deadline deadline);

  detail::QueueCore core_;
};

// ---------------------------------------------------------------------------------------------------------------------
// Implementation

template <Portable T>
class Queue<T>::iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;

  explicit iterator(Queue queue) : queue_(std::move(queue)) { advance(); }
  const T& operator*() const { return *item_; }
  T& operator*() { return *item_; }
  iterator& operator++() {
    advance();
    return *this;
  }
  void operator++(int) { advance(); }
  friend bool operator==(const iterator& it, std::default_sentinel_t) { return !it.item_.has_value(); }

 private:
  void advance() {
    item_.reset();
    queue_.core_.get(detail::Deadline::never(), detail::QueueCore::AtEnd::Stop,
                     [this](detail::ItemView view) { item_.emplace(view.decode<T>()); });
  }

  Queue queue_;
  std::optional<T> item_;
};

template <Portable T>
std::optional<T> Queue<T>::take(detail::Deadline deadline) {
  std::optional<T> item;
  core_.get(deadline, detail::QueueCore::AtEnd::Throw,
            [&item](detail::ItemView view) { item.emplace(view.decode<T>()); });
  return item;
}

template <Portable T>
std::vector<T> Queue<T>::get_many(std::size_t max_items) {
  std::vector<T> items;
  core_.get_many(max_items, detail::Deadline::never(),
                 [&items](detail::ItemView view) { items.push_back(view.decode<T>()); });
  return items;
}

template <Portable T>
template <class Rep, class Period>
std::vector<T> Queue<T>::get_many_for(std::size_t max_items, std::chrono::duration<Rep, Period> timeout) {
  std::vector<T> items;
  core_.get_many(max_items, detail::Deadline::after(timeout),
                 [&items](detail::ItemView view) { items.push_back(view.decode<T>()); });
  return items;
}

}  // namespace tandem
