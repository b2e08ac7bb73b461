/// The untyped inside of Array, RawArray and RawValue.
#pragma once

#include <cstddef>

#include <tandem/detail/handle.hpp>
#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

/// Memory for so many elements in a row, which stays where it is. Handle; a copy of it is made where others would be
/// moved from, so it always has its memory.
class SharedElements {
 public:
  /// Copies `count` elements from `initial`, or fills with zeros if that is null. Throws std::invalid_argument if no
  /// memory can be that large, std::system_error if the arena is full.
  SharedElements(std::size_t count, std::size_t element_bytes, std::size_t alignment, const void* initial);
  SharedElements(const SharedElements&) = default;
  SharedElements& operator=(const SharedElements&) = default;
  ~SharedElements() = default;

  void* data() const noexcept { return data_; }
  std::size_t count() const noexcept { return count_; }
  const SharedObjectPtr& object() const noexcept { return object_; }

 private:
  friend struct HandleAccess;
  static constexpr ObjectKind kObjectKind = ObjectKind::Array;
  explicit SharedElements(SharedObjectPtr object);
  const SharedObjectPtr& shared_object() const { return object_; }

  SharedObjectPtr object_;
  // Looked up once: elements are reached as fast as those of a std::span.
  void* data_;
  std::size_t count_;
};

}  // namespace tandem::detail
