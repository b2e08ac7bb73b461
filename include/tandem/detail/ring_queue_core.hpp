/// The untyped inside of Queue.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/queue_item.hpp>
#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

class WaitSource;

/// Queue<T> without its type: see AnyQueue for what its members promise. Handle.
class RingQueueCore {
 public:
  /// `plain_bytes` is the size of its items if they move as plain bytes, all of one size; 0 otherwise.
  RingQueueCore(std::size_t capacity, std::size_t plain_bytes);
  explicit RingQueueCore(SharedObjectPtr object) : object_(std::move(object)) {}

  bool put(const EncodedItem& item, const Deadline& deadline);
  /// Puts many items that lie behind one another and move as plain bytes.
  void put_plain(std::span<const std::byte> items);
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

  /// Puts many items together: gathers small ones and claims their places in one go. finish() puts the rest.
  class Batch {
   public:
    explicit Batch(RingQueueCore& queue) : queue_(queue) {}
    void put(const EncodedItem& item);
    void finish();

   private:
    RingQueueCore& queue_;
    GatheredItems items_;
  };

 private:
  SharedObjectPtr object_;
};

}  // namespace tandem::detail
