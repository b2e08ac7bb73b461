/// The untyped inside of Queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/queue_item.hpp>
#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

class WaitSource;

/// An item that stays in its slot, in the name of the thread that claimed it, until this is dropped. Owner.
class LentItem {
 public:
  LentItem() = default;
  LentItem(LentItem&& other) noexcept : LentItem() { swap(other); }
  LentItem& operator=(LentItem&& other) noexcept {
    LentItem(std::move(other)).swap(*this);
    return *this;
  }
  ~LentItem() { drop(); }

  bool has_value() const noexcept { return slot_ != nullptr; }
  ItemView view() const noexcept { return view_; }
  /// The item is this thread's own, and its place is given up. In a forked child, which has a copy: nothing.
  void drop();

 private:
  friend class RingQueueCore;
  void swap(LentItem& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(slot_, other.slot_);
    std::swap(participant_, other.participant_);
    std::swap(owner_, other.owner_);
    std::swap(view_, other.view_);
  }

  SharedObjectPtr object_;
  void* slot_ = nullptr;
  std::uint64_t participant_ = 0;  // In whose name it is claimed, and
  std::uint64_t owner_ = 0;        // who that is.
  ItemView view_;
};

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
  /// Lends the first item; none if there is none in time, or at the end with AtEnd::Stop.
  LentItem lend(const Deadline& deadline, AtEnd at_end);
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
