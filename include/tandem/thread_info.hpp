/// Threads as seen from outside: who am I, who is there.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <tandem/detail/deadline.hpp>

namespace tandem {
namespace detail {
class ThreadRecord;
using ThreadRecordPtr = std::shared_ptr<ThreadRecord>;
}  // namespace detail

/// One thread of this process: the main thread, one that Tandem started, or a foreign one (made by std::thread or by a
/// library) that has called current_thread(). Handle: copies refer to one thread, and outlive it.
///
///   std::cout << tandem::current_thread().name() << '\n';
///
/// Threads: every member may be called from any thread. It cannot be sent to another process.
class ThreadInfo {
 public:
  /// Tandem's number for the thread: 1 for the program's main thread, and never used again after the thread's end.
  [[nodiscard]] std::uint64_t id() const;
  /// The kernel's number for it (gettid()), which the kernel may use again once the thread has ended.
  [[nodiscard]] std::optional<pid_t> native_id() const;
  [[nodiscard]] std::string name() const;
  /// Renames it, at once also for the system (`ps -L`, debuggers), which keeps the first 15 bytes, cut at a whole UTF-8
  /// character and at the first NUL.
  void set_name(std::string name);
  /// Whether leaving main does not wait for it. True for a foreign thread: nobody waits for those.
  [[nodiscard]] bool daemon() const;
  /// Whether it has not ended. The main thread ends when main is left.
  [[nodiscard]] bool is_alive() const;
  [[nodiscard]] bool is_main() const;

  /// Waits until it has ended. Throws StateError for the calling thread and for a foreign one.
  void join() const { static_cast<void>(wait(detail::Deadline::never())); }
  /// As join(), but gives up after `timeout`: false.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait(detail::Deadline::after(timeout));
  }
  /// Asks it to stop: its stop_token() says so. Returns whether this was the first call.
  bool request_stop() const;
  [[nodiscard]] std::stop_token stop_token() const;

  /// For people, for example "<Thread(Thread-1 (work), started daemon 4711)>".
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const ThreadInfo&, const ThreadInfo&) = default;

  explicit ThreadInfo(detail::ThreadRecordPtr record) noexcept : record_(std::move(record)) {}

 private:
  bool wait(const detail::Deadline& deadline) const;

  detail::ThreadRecordPtr record_;
};

/// The calling thread. A foreign thread is listed from its first call until it ends.
[[nodiscard]] ThreadInfo current_thread();
/// The thread that runs main(); in a forked process, the thread that called fork().
[[nodiscard]] ThreadInfo main_thread();
/// Every thread that is alive now, in the order of their ids; the main thread also while the process exits.
[[nodiscard]] std::vector<ThreadInfo> enumerate();
/// How many enumerate() lists.
[[nodiscard]] std::size_t active_count();

}  // namespace tandem
