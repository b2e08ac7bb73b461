/// Threads with names, a daemon flag, stop tokens and reported exceptions.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/thread_body.hpp>
#include <tandem/error.hpp>
#include <tandem/excepthook.hpp>
#include <tandem/exit.hpp>
#include <tandem/gil.hpp>
#include <tandem/start_new_thread.hpp>
#include <tandem/thread_info.hpp>

namespace tandem {

class Timer;

/// How a Thread differs from the usual one. Value.
struct ThreadOptions {
  /// Empty: "Thread-N (function)", N counting the threads named so. The system shows only "Thread-N" of it.
  std::string name{};
  /// Whether leaving main does not wait for it. Empty: as the thread that makes it (foreign threads count as no
  /// daemons).
  std::optional<bool> daemon{};
  /// Runs the body while holding this Gil, except where it waits.
  std::optional<Gil> gil{};
  /// 0: stack_size(), and if that is 0 the system's default. At least kMinStackBytes.
  std::size_t stack_size_bytes = 0;
};

/// A thread of this process. Owner: move-only; its destructor asks it to stop and waits for its end, or if it is a
/// daemon lets it go.
///
///   tandem::Thread t(work, 1, 0, 50'000'000, result);   // copies of the arguments are kept; std::ref() refers
///   t.start();
///   t.join();
///
/// The callable is called as std::jthread would: with a std::stop_token first if it takes one. It and the arguments are
/// destroyed in the thread when the body ends, even if they own this Thread. An exception that leaves the body ends
/// that thread only and goes to the hook of excepthook.hpp; tandem::exit() ends it quietly.
///
/// Threads: every member may be called at once from any thread, except the destructor and moving.
/// Memory ordering: start() happens before the body; the body's end happens before join() or is_alive() tell of it.
/// Errors: StateError for a member called in the wrong state; std::system_error if the system refuses to start it, and
/// then nothing is registered and start() may be tried again.
/// Leaving main waits for every thread that is no daemon, see exit.hpp. In a forked process the threads of its parent
/// have ended, except the one that called fork().
class Thread {
 public:
  /// Makes a thread that is not started yet.
  template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, Thread> && !std::same_as<std::remove_cvref_t<F>, ThreadOptions>)
  explicit Thread(F&& fn, Args&&... args)
      : Thread(detail::make_thread_body(std::forward<F>(fn), std::forward<Args>(args)...), ThreadOptions()) {}
  /// Throws std::invalid_argument for a stack size that is too small or absurdly large.
  template <class F, class... Args>
  Thread(ThreadOptions options, F&& fn, Args&&... args)
      : Thread(detail::make_thread_body(std::forward<F>(fn), std::forward<Args>(args)...), std::move(options)) {}
  Thread(Thread&&) noexcept = default;
  /// Ends the thread that was here before as the destructor does.
  Thread& operator=(Thread&& other) noexcept;
  ~Thread();

  /// Starts the body. Throws StateError if called twice, or once the process has waited for its threads at its end.
  void start();
  /// Waits until the thread has ended, its thread_local objects included. Any number of threads may join, any number of
  /// times. Throws StateError before start() and in the thread itself.
  void join() { static_cast<void>(wait(detail::Deadline::never())); }
  /// As join(), but gives up after `timeout`: false. Throws std::invalid_argument for a negative one.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return wait(detail::Deadline::after(timeout));
  }
  /// Asks the body to stop: its stop token says so. Returns whether this was the first call.
  bool request_stop();
  [[nodiscard]] std::stop_token stop_token() const;

  /// Whether it is started and has not ended.
  [[nodiscard]] bool is_alive() const;
  [[nodiscard]] std::string name() const;
  /// As ThreadInfo::set_name().
  void set_name(std::string name);
  [[nodiscard]] bool daemon() const;
  /// Throws StateError once started.
  void set_daemon(bool daemon);
  /// Tandem's number for it, never used again; empty before start().
  [[nodiscard]] std::optional<std::uint64_t> id() const;
  /// The kernel's number for it; empty before start().
  [[nodiscard]] std::optional<pid_t> native_id() const;
  /// The thread as others see it.
  [[nodiscard]] ThreadInfo info() const;
  /// For people, for example "<Thread(Thread-1 (work), initial)>".
  [[nodiscard]] std::string to_string() const;

 private:
  friend class Timer;
  Thread(std::unique_ptr<detail::ThreadBody> body, ThreadOptions options);
  detail::ThreadRecord& record() const;
  bool wait(const detail::Deadline& deadline);
  void end() noexcept;

  detail::ThreadRecordPtr record_;
};

}  // namespace tandem
