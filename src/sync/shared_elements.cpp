#include <tandem/detail/shared_elements.hpp>

#include <fmt/format.h>

#include <cstring>
#include <limits>
#include <stdexcept>

#include "ipc/family.hpp"
#include "sync/aligned.hpp"

namespace tandem::detail {
namespace {

/// The body of an Array, in front of its elements. Constant.
struct ElementsState {
  std::uint64_t count;
  std::uint64_t first;  // From here to the first element.
};
static_assert(sizeof(ElementsState) == 16, "layout in shared memory");

struct Argument {
  std::size_t count;
  std::size_t bytes;
  std::size_t alignment;
  const void* initial;
};

void initialise(void* body, const void* raw) {
  const auto& wanted = *static_cast<const Argument*>(raw);
  auto* state = static_cast<ElementsState*>(body);
  state->count = wanted.count;
  state->first = aligned_distance(body, sizeof(ElementsState), wanted.alignment);
  void* const first = static_cast<std::byte*>(body) + state->first;
  if (wanted.bytes == 0) return;
  if (wanted.initial == nullptr) {
    std::memset(first, 0, wanted.bytes);
  } else {
    std::memcpy(first, wanted.initial, wanted.bytes);
  }
}

SharedObjectPtr make_elements(std::size_t count, std::size_t element_bytes, std::size_t alignment,
                              const void* initial) {
  constexpr std::size_t kMost = std::numeric_limits<std::ptrdiff_t>::max() / 2;
  if (count > kMost / element_bytes)
    throw std::invalid_argument(
        fmt::format("no memory can hold {} elements of {} bytes each: is the size negative?", count, element_bytes));
  const Argument argument{count, count * element_bytes, alignment, initial};
  return make_object(ObjectKind::Array, sizeof(ElementsState) + argument.bytes + alignment, initialise, &argument);
}

}  // namespace

SharedElements::SharedElements(std::size_t count, std::size_t element_bytes, std::size_t alignment, const void* initial)
    : SharedElements(make_elements(count, element_bytes, alignment, initial)) {}

SharedElements::SharedElements(SharedObjectPtr object) : object_(std::move(object)) {
  auto* state = static_cast<ElementsState*>(object_->data());
  data_ = reinterpret_cast<std::byte*>(state) + state->first;
  count_ = state->count;
}

}  // namespace tandem::detail
