/// The members of Queue, LifoQueue and PriorityQueue, which differ only in which item is the first.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/handle.hpp>
#include <tandem/detail/queue_item.hpp>

namespace tandem::detail {

/// What the queue type `Self` of items of type T is made of, on a `Core` without types. See queue.hpp for what holds
/// for all members.
template <class Self, class T, class Core>
class AnyQueue {
 public:
  using value_type = T;

  /// Adds an item; waits while the queue is full. Throws QueueClosed, also when closed while waiting.
  void put(const T& item) { core_.put(encode_item(item), Deadline::never()); }
  /// As put(), but gives up after `timeout`: false, and nothing was put.
  template <class Rep, class Period>
  [[nodiscard]] bool put_for(const T& item, std::chrono::duration<Rep, Period> timeout) {
    const auto deadline = Deadline::after(timeout);
    return core_.put(encode_item(item), deadline);
  }
  /// As put(), but does not wait: false if the queue is full.
  [[nodiscard]] bool try_put(const T& item) { return core_.put(encode_item(item), Deadline::now()); }

  /// Adds all items of a range in order, waiting whenever the queue is full; items of others may come between. Locks
  /// once for many items, which is what makes it faster than put(). If the queue is closed meanwhile, throws
  /// QueueClosed; if memory ends, std::system_error. The items before that one are then in the queue.
  template <std::input_iterator Iterator, std::sentinel_for<Iterator> End>
  void put_many(Iterator first, End last) {
    typename Core::Batch batch(core_);
    for (; first != last; ++first) batch.put(encode_item(*first));
    batch.finish();
  }
  template <class Range>
  void put_many(const Range& items) {
    if constexpr (kPutsInPlace<Range>) {
      core_.put_plain(std::as_bytes(std::span(std::data(items), std::size(items))));
    } else {
      put_many(std::begin(items), std::end(items));
    }
  }

  /// Takes the first item; waits while there is none. Throws QueueClosed once closed and drained.
  [[nodiscard]] T get() { return std::move(*take(Deadline::never())); }
  /// As get(), but gives up after `timeout`: empty.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<T> get_for(std::chrono::duration<Rep, Period> timeout) {
    return take(Deadline::after(timeout));
  }
  /// As get(), but does not wait: empty if there is no item.
  [[nodiscard]] std::optional<T> try_get() { return take(Deadline::now()); }

  /// Waits for one item, then takes up to `max_items` of those that are there, first ones first. Throws QueueClosed
  /// once closed and drained. If an item cannot be decoded, those before it are returned, and the next call meets it
  /// first.
  [[nodiscard]] std::vector<T> get_many(std::size_t max_items) { return take_many(max_items, Deadline::never()); }
  /// As get_many(), but gives up after `timeout`: an empty vector.
  template <class Rep, class Period>
  [[nodiscard]] std::vector<T> get_many_for(std::size_t max_items, std::chrono::duration<Rep, Period> timeout) {
    return take_many(max_items, Deadline::after(timeout));
  }

  /// Says that an item taken earlier is dealt with. Throws std::logic_error if called more often than items were put.
  void task_done() { core_.task_done(); }
  /// Waits until every item put so far and meanwhile is marked by task_done(), or the queue is closed by close_now().
  void join() { static_cast<void>(core_.join(Deadline::never())); }
  /// As join(), but gives up after `timeout`: false.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return core_.join(Deadline::after(timeout));
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
  iterator begin() { return iterator(core_); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// Whether both refer to one queue.
  friend bool operator==(const Self& a, const Self& b) noexcept { return a.shared_object() == b.shared_object(); }

 protected:
  explicit AnyQueue(Core core) : core_(std::move(core)) {}

  auto lend(const Deadline& deadline) { return core_.lend(deadline, AtEnd::Throw); }

 private:
  friend struct HandleAccess;
  const SharedObjectPtr& shared_object() const { return core_.object(); }

  /// Whether the items of a range lie behind one another as they will in the queue.
  template <class Range>
  static constexpr bool kPutsInPlace =
      kTriviallyPortable<T> && requires(Core core, const Range& items, std::span<const std::byte> bytes) {
        { std::data(items) } -> std::same_as<const T*>;
        std::size(items);
        core.put_plain(bytes);
      };

  static EncodedItem encode_item(const T& item) { return EncodedItem(std::in_place, item); }
  std::optional<T> take(Deadline deadline);
  std::vector<T> take_many(std::size_t max_items, Deadline deadline);

  Core core_;
};

// ---------------------------------------------------------------------------------------------------------------------
// Implementation

template <class Self, class T, class Core>
class AnyQueue<Self, T, Core>::iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;

  explicit iterator(Core core) : core_(std::move(core)) { advance(); }
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
    core_.get(Deadline::never(), AtEnd::Stop, [this](ItemView view) { item_.emplace(view.decode<T>()); });
  }

  Core core_;
  std::optional<T> item_;
};

template <class Self, class T, class Core>
std::optional<T> AnyQueue<Self, T, Core>::take(Deadline deadline) {
  std::optional<T> item;
  core_.get(deadline, AtEnd::Throw, [&item](ItemView view) { item.emplace(view.decode<T>()); });
  return item;
}

template <class Self, class T, class Core>
std::vector<T> AnyQueue<Self, T, Core>::take_many(std::size_t max_items, Deadline deadline) {
  std::vector<T> items;
  items.reserve(std::min(max_items, core_.size() + 1));
  core_.get_many(max_items, deadline, [&items](ItemView view) { items.push_back(view.decode<T>()); });
  return items;
}

}  // namespace tandem::detail
