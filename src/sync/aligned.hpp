/// Where in an object's body something begins that needs more alignment than the body has.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tandem::detail {

constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t alignment) noexcept {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// The least distance from `body` of at least `behind` bytes at which an address is aligned. It is the same in every
/// process, since the arena is mapped to whole pages and no Shareable type is aligned to more.
inline std::uint64_t aligned_distance(const void* body, std::uint64_t behind, std::uint64_t alignment) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(body);
  return round_up(address + behind, alignment) - address;
}

}  // namespace tandem::detail
