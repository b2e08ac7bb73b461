/// What the thread sanitizer cannot see by itself: order that another process has made.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define TANDEM_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TANDEM_THREAD_SANITIZER
#endif
#endif

#include <pthread.h>

#ifdef TANDEM_THREAD_SANITIZER
#include <dlfcn.h>
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

/// Takes and lets go of a pthread mutex that a thread holds for as long as it lives, unseen by the sanitizer. A forked
/// child has the sanitizer's notes of what its parent's thread holds, and when that is dead and the child looks at its
/// mutex, the sanitizer would stop it for taking what it has.
class LivenessMutex {
 public:
  static int try_lock(pthread_mutex_t& mutex) noexcept {
    return call("pthread_mutex_trylock", ::pthread_mutex_trylock, mutex);
  }
  static int unlock(pthread_mutex_t& mutex) noexcept {
    return call("pthread_mutex_unlock", ::pthread_mutex_unlock, mutex);
  }

 private:
  using Function = int (*)(pthread_mutex_t*);
  static int call([[maybe_unused]] const char* name, Function function, pthread_mutex_t& mutex) noexcept {
#ifdef TANDEM_THREAD_SANITIZER
    // The sanitizer's own is in the program, and the C library's in its file.
    static void* const library = ::dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (void* const found = ::dlsym(library, name)) function = reinterpret_cast<Function>(found);
#endif
    return function(&mutex);
  }
};

}  // namespace tandem::detail
