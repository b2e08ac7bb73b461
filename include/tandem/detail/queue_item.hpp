/// Items on their way into and out of a queue, as bytes.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <tandem/detail/function_ref.hpp>
#include <tandem/detail/shared_object.hpp>
#include <tandem/error.hpp>
#include <tandem/wire.hpp>

namespace tandem::detail {

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

  /// An item that moves as these bytes.
  explicit EncodedItem(std::span<const std::byte> plain) : plain_(plain) {}

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

/// What get() does at the end of a closed queue: throw QueueClosed, or return false.
enum class AtEnd { Throw, Stop };

/// Small items that are to be put together.
class GatheredItems {
 public:
  struct Item {
    std::size_t size_bytes;
    bool is_plain;
  };

  void add(const EncodedItem& item) {
    const std::span<const std::byte> bytes = item.bytes();
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    items_.push_back({bytes.size(), item.is_plain()});
  }
  bool empty() const { return items_.empty(); }
  std::size_t size() const { return items_.size(); }
  void clear() {
    bytes_.clear();
    items_.clear();
  }
  const std::byte* bytes() const { return bytes_.data(); }
  std::span<const Item> items() const { return items_; }

 private:
  std::vector<std::byte> bytes_;
  std::vector<Item> items_;
};

}  // namespace tandem::detail
