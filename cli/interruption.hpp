/// Ctrl-C and its like: the workers go, one line says so, nothing is left half-printed.
#pragma once

#include <csignal>
#include <mutex>
#include <stop_token>
#include <thread>

namespace tandem::tool {

/// Waits for SIGINT, SIGTERM and SIGHUP on a thread of its own and ends the tool in order. One object for a program,
/// made before any other thread: those inherit that the signals are blocked.
///
/// A signal that was ignored when the tool started stays ignored: so a shell keeps a background job from Ctrl-C.
class Interruption {
 public:
  Interruption();
  /// The object lives as long as the program: its thread is never joined.
  ~Interruption() = default;
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /// Says to stop what has workers; whoever listens has killed them when the request returns.
  std::stop_token stop_token() const { return stop_.get_token(); }

  /// Held while something is printed. Once the tool is ending by a signal, this never returns.
  [[nodiscard]] std::unique_lock<std::mutex> hold_off() { return std::unique_lock(printing_); }
  /// The same until the program ends: what is printed from now on, and the exit code, are no signal's business any
  /// more. For the main thread; a second call does nothing.
  void hold_off_for_good();

  /// Lets the signals through to the calling thread, as they were before: it is about to become another program.
  void let_through() const;

  /// Stops the workers, says so in one line, and ends the tool with the exit code of the signal.
  [[noreturn]] void end_by(int signal);

 private:
  void wait();

  sigset_t signals_{};
  std::stop_source stop_;
  std::mutex printing_;
  bool held_for_good_ = false;  // Main thread only.
};

}  // namespace tandem::tool
