#include "core/blocking.hpp"

namespace tandem::detail {

BlockingHooks*& blocking_hooks() noexcept {
  thread_local BlockingHooks* hooks = nullptr;
  return hooks;
}

}  // namespace tandem::detail
