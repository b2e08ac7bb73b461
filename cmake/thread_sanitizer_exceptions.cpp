// Linked into every executable that is built with the thread sanitizer: tells it how exceptions are shared.
//
// Threads that have the same exception count themselves, and the last one destroys it. The counting is inside the C++
// library, which is not built with the sanitizer: it saw who destroyed an exception, did not see that all others had let
// go of it before, and called it a race with what they had read. So the two calls by which a thread lets go are
// announced to it here, and then made.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdlib>
#include <exception>

namespace {

template <class Function>
Function* function_of_the_library(const char* name) {
  void* function = ::dlsym(RTLD_NEXT, name);
  if (function == nullptr) std::abort();
  return reinterpret_cast<Function*>(function);
}

/// Whoever lets go later has seen what this thread did.
void announce(void* exception) {
  if (exception == nullptr) return;
  __tsan_acquire(exception);
  __tsan_release(exception);
}

}  // namespace

// At the end of every handler.
extern "C" void __cxa_end_catch() {
  static const auto end_catch = function_of_the_library<void()>("__cxa_end_catch");
  {
    const std::exception_ptr current = std::current_exception();
    // Its only member. Those that throw the exception again have the same.
    static_assert(sizeof(current) == sizeof(void*));
    announce(*reinterpret_cast<void* const*>(&current));
  }
  end_catch();
}

// By an exception_ptr that is destroyed or assigned to.
void std::__exception_ptr::exception_ptr::_M_release() noexcept {
  static const auto release =
      function_of_the_library<void(exception_ptr*)>("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");
  announce(_M_exception_object);
  release(this);
}
