#include "thread/native_thread.hpp"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

#include "core/system.hpp"

namespace tandem::detail {

int start_native_thread(std::size_t stack_bytes, void* (*entry)(void*), void* argument, pthread_t* thread) noexcept {
  pthread_t ignored;
  if (thread == nullptr) thread = &ignored;
  if (stack_bytes == 0) return ::pthread_create(thread, nullptr, entry, argument);
  pthread_attr_t attributes;
  if (const int error = ::pthread_attr_init(&attributes); error != 0) return error;
  int error = ::pthread_attr_setstacksize(&attributes, stack_bytes);
  if (error == 0) error = ::pthread_create(thread, &attributes, entry, argument);
  ::pthread_attr_destroy(&attributes);
  return error;
}

pid_t current_native_id() noexcept {
  return ::gettid();
}

bool is_main_native_thread() noexcept {
  return ::gettid() == ::getpid();
}

std::string native_thread_name(const std::string& name) {
  constexpr std::size_t kLongestBytes = 15;  // TASK_COMM_LEN of the kernel less the NUL.
  std::string shown = name.substr(0, name.find('\0'));
  if (shown.size() <= kLongestBytes) return shown;
  std::size_t end = kLongestBytes;
  // A UTF-8 character is one leading byte and continuation bytes 10xxxxxx: none of these may be the first one cut off.
  while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xC0U) == 0x80U) --end;
  shown.resize(end);
  return shown;
}

void set_native_thread_name(pthread_t thread, const std::string& name) noexcept {
  static_cast<void>(::pthread_setname_np(thread, native_thread_name(name).c_str()));
}

void signal_main_thread(int signum) {
  const std::string what = "there is no signal " + std::to_string(signum);
  // Signal 0 only asks whether the thread exists.
  if (signum <= 0) throw std::invalid_argument(what);
  // The main thread's number is the process's, also in a process forked by another thread than the main one. When it is
  // the calling thread a signal that is not blocked is delivered before the call returns.
  if (::tgkill(::getpid(), ::getpid(), signum) == 0) return;
  if (errno == EINVAL) throw std::invalid_argument(what);
  throw_errno("cannot send signal " + std::to_string(signum) + " to the main thread");
}

}  // namespace tandem::detail
