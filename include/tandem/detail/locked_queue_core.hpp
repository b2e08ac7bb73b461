/// The untyped inside of LifoQueue and PriorityQueue.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/function_ref.hpp>
#include <tandem/detail/queue_item.hpp>
#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

class WaitSource;

/// An item that another one is compared with, and whether it was put before that.
struct Rival {
  ItemView item;
  bool is_older;
};
/// Gives rivals, one after the other; empty behind the last.
using Rivals = FunctionRef<std::optional<Rival>()>;
/// Says how many rivals, from the first on, an item comes before. It may throw: nothing is changed meanwhile.
using CountWins = std::size_t (*)(ItemView item, Rivals rivals);

/// Thrown at the code that compares items if it uses a PriorityQueue: its own is locked, and two that compare with the
/// help of each other would wait for each other for ever.
struct UsedWhileComparing : std::logic_error {
  UsedWhileComparing() : std::logic_error("a PriorityQueue was used while items of one were compared") {}
};

/// LifoQueue<T> and PriorityQueue<T> without their type: see AnyQueue for what its members promise. Handle.
class LockedQueueCore {
 public:
  /// `count_wins` compares items if the kind is PriorityQueue, and is null otherwise.
  LockedQueueCore(ObjectKind kind, std::size_t capacity, CountWins count_wins);
  LockedQueueCore(SharedObjectPtr object, CountWins count_wins) : object_(std::move(object)), count_wins_(count_wins) {}

  bool put(const EncodedItem& item, const Deadline& deadline);
  /// Hands the first item to `receive`; false if there was none. If `receive` throws, the item is gone.
  bool get(const Deadline& deadline, AtEnd at_end, Receiver receive);
  /// Hands up to `max_items` items to `receive` as soon as there is one; returns how many.
  std::size_t get_many(std::size_t max_items, const Deadline& deadline, Receiver receive);
  void task_done();
  bool join(const Deadline& deadline);
  void close(bool discard);

  std::size_t size() const;
  bool closed() const;
  std::size_t capacity() const;
  /// For wait(): ready when get() would not wait.
  std::shared_ptr<WaitSource> wait_source() const;
  ObjectId id() const { return object_->id(); }
  const SharedObjectPtr& object() const { return object_; }

  /// Puts many items with few locks: gathers small ones and puts them together. finish() puts the rest.
  class Batch {
   public:
    explicit Batch(LockedQueueCore& queue) : queue_(queue) {}
    void put(const EncodedItem& item);
    void finish();

   private:
    LockedQueueCore& queue_;
    GatheredItems items_;
  };

 private:
  SharedObjectPtr object_;
  CountWins count_wins_;
};

}  // namespace tandem::detail
