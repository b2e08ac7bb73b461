/// The untyped inside of the queues: items are bytes here.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/function_ref.hpp>
#include <tandem/detail/shared_object.hpp>
#include <tandem/error.hpp>
#include <tandem/wire.hpp>

namespace tandem::detail {

class WaitSource;

/// An item as it goes into a queue. Refers to the item it was made of if that moves as plain bytes.
class EncodedItem {
 public:
  template <class T>
  EncodedItem(std::in_place_t, const T& item) {
    if constexpr (kTriviallyPortable<T>) {
      plain_ = std::as_bytes(std::span(&item, 1));
    } else {
      encode(encoder_.emplace(), item);
    }
  }

  std::span<const std::byte> bytes() const { return encoder_ ? encoder_->bytes() : plain_; }
  /// The objects that handles in the item refer to; null if the item cannot have any.
  const std::vector<SharedObjectPtr>* objects() const { return encoder_ ? &encoder_->objects() : nullptr; }
  /// Whether receiving it is a copy of bytes, which runs no code of the user's.
  bool is_plain() const { return !encoder_.has_value(); }

 private:
  std::span<const std::byte> plain_;
  std::optional<Encoder> encoder_;
};

/// An item's bytes inside the queue, while it is being received.
struct ItemView {
  std::span<const std::byte> bytes;

  template <class T>
  T decode() const {
    if constexpr (kTriviallyPortable<T>) {
      if (bytes.size() != sizeof(T)) throw WireError("an item of the queue has another size than its type");
      std::array<std::byte, sizeof(T)> copy;
      std::memcpy(copy.data(), bytes.data(), sizeof(T));
      return std::bit_cast<T>(copy);
    } else {
      Decoder decoder(bytes.data(), bytes.size());
      return detail::decode<T>(decoder);
    }
  }
};

/// Takes an item out of the queue's hands.
using Receiver = FunctionRef<void(ItemView)>;

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

/// Queue<T>, LifoQueue<T> and PriorityQueue<T> without their type: see AnyQueue for what its members promise. Handle.
class QueueCore {
 public:
  /// `count_wins` compares items if the kind is PriorityQueue, and is null otherwise.
  QueueCore(ObjectKind kind, std::size_t capacity, CountWins count_wins);
  QueueCore(SharedObjectPtr object, CountWins count_wins) : object_(std::move(object)), count_wins_(count_wins) {}

  /// What get() does at the end of a closed queue: throw QueueClosed, or return false.
  enum class AtEnd { Throw, Stop };

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
    explicit Batch(QueueCore& queue) : queue_(queue) {}
    void put(const EncodedItem& item);
    void finish();

   private:
    QueueCore& queue_;
    std::vector<std::byte> bytes_;
    std::vector<std::pair<std::size_t, bool>> items_;  // Size in bytes of each, and whether it is plain.
  };

 private:
  SharedObjectPtr object_;
  CountWins count_wins_;
};

}  // namespace tandem::detail
