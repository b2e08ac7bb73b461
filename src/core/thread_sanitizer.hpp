/// What the thread sanitizer cannot see by itself: order that another process has made.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define TANDEM_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TANDEM_THREAD_SANITIZER
#endif
#endif

#ifdef TANDEM_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace tandem::detail {

/// Memory that this process wrote comes back through another process, which had it in between: all that was done before
/// a passes_on(way) is before what follows a comes_back(way). Nothing without the sanitizer.
inline void passes_on([[maybe_unused]] const void* way) noexcept {
#ifdef TANDEM_THREAD_SANITIZER
  __tsan_release(const_cast<void*>(way));
#endif
}
inline void comes_back([[maybe_unused]] const void* way) noexcept {
#ifdef TANDEM_THREAD_SANITIZER
  __tsan_acquire(const_cast<void*>(way));
#endif
}

}  // namespace tandem::detail
