/// The untyped inside of a Broadcast.
#pragma once

#include <memory>
#include <mutex>
#include <typeinfo>

#include <tandem/detail/shared_object.hpp>
#include <tandem/wire.hpp>

namespace tandem::detail {

/// How a value of some type is written and read. One for each type, for the whole program.
struct BroadcastType {
  void (*encode)(Encoder& encoder, const void* value);
  std::shared_ptr<const void> (*decode)(Decoder& decoder);
  const std::type_info& type;
};

/// A value in this process, its bytes in the arena, or both: each is made out of the other when it is needed, once.
///
/// What was decoded is remembered by the process for later handles to the same object, see broadcast.hpp.
class BroadcastState {
 public:
  BroadcastState(const BroadcastType& type, std::shared_ptr<const void> value)
      : type_(type), value_(std::move(value)) {}
  BroadcastState(const BroadcastType& type, SharedObjectPtr object) : type_(type), object_(std::move(object)) {}
  BroadcastState(const BroadcastState&) = delete;
  BroadcastState& operator=(const BroadcastState&) = delete;

  /// Throws what decoding throws, each time.
  const void* value();
  /// Valid as long as this. Throws what encoding throws, each time.
  const SharedObjectPtr& object();

 private:
  const BroadcastType& type_;
  std::mutex mutex_;
  std::shared_ptr<const void> value_;
  SharedObjectPtr object_;
};

}  // namespace tandem::detail
