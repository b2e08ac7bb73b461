/// Every exception type that Tandem throws on its own account. Expected outcomes (a timeout, an empty or a full queue)
/// are return values; a wrong argument is std::invalid_argument; a refusal by the system is std::system_error whose
/// text names the action and the object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <tandem/crash_report.hpp>

namespace tandem {

/// The base of the types below: catch it to catch all of them.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// put() after close(), or get() once a closed queue is drained.
class QueueClosed : public Error {
 public:
  using Error::Error;
};

/// recv() when everything that was sent is received and nobody can send any more: the other end is closed everywhere.
class EndOfStream : public Error {
 public:
  using Error::Error;
};

/// send() when nobody can receive any more: the other end is closed everywhere.
class BrokenPipe : public Error {
 public:
  using Error::Error;
};

/// recv_bytes_into() with too small a buffer: the message is here instead.
class BufferTooShort : public Error {
 public:
  BufferTooShort(const std::string& text, std::vector<std::byte> message)
      : Error(text), message_(std::make_shared<const std::vector<std::byte>>(std::move(message))) {}

  const std::vector<std::byte>& message() const noexcept { return *message_; }

 private:
  std::shared_ptr<const std::vector<std::byte>> message_;  // Copying an exception must not throw.
};

/// The other side of a socket does not know the key, or does not speak as Tandem does.
class AuthenticationError : public Error {
 public:
  using Error::Error;
};

/// A lock is let go of, or a condition used, by one who does not hold it; or a lock that nobody holds is released.
class NotOwner : public Error {
 public:
  using Error::Error;
};

/// The process that held a lock died with it: what the lock guards may be half changed. See OnOwnerDeath.
class OwnerDied : public Error {
 public:
  using Error::Error;
};

/// release() of a BoundedSemaphore that has all its units, or of a Semaphore that cannot count so many.
class OverRelease : public Error {
 public:
  using Error::Error;
};

/// wait() at a barrier that is broken, or that breaks or is reset meanwhile.
class BrokenBarrier : public Error {
 public:
  using Error::Error;
};

/// A handle whose object is gone: every handle to it was dropped before this one was used.
class StaleHandle : public Error {
 public:
  using Error::Error;
};

/// Bytes that cannot be turned back into the value or callable that they stand for.
class WireError : public Error {
 public:
  using Error::Error;
};

/// A member called in the wrong state: start() twice, join() before start(), any use after close() of a Process.
class StateError : public Error {
 public:
  using Error::Error;
};

/// A process was to be started in a program whose main() has not called tandem::init().
class NotInitialized : public StateError {
 public:
  using StateError::StateError;
};

/// A task that is to be run by an executor which was shut down; or one that the executor gave up at its shutdown.
class ExecutorShutDown : public Error {
 public:
  using Error::Error;
};

/// An executor whose initializer failed: it runs nothing any more.
class BrokenExecutor : public Error {
 public:
  using Error::Error;
};

/// submit() to an executor whose backlog is full, if its options say not to wait for ever.
class BacklogFull : public Error {
 public:
  using Error::Error;
};

/// The result of a task that was cancelled.
class TaskCancelled : public Error {
 public:
  using Error::Error;
};

/// A task ran for longer than its deadline, or several were not done in time.
class DeadlineExceeded : public Error {
 public:
  using Error::Error;
};

/// The worker that ran a task died: killed, crashed, or it left the program.
class TaskCrashed : public Error {
 public:
  TaskCrashed(const std::string& text, CrashReport report, unsigned attempts)
      : Error(text), report_(std::make_shared<const CrashReport>(std::move(report))), attempts_(attempts) {}

  /// What is known of the worker's end.
  const CrashReport& report() const noexcept { return *report_; }
  /// How often the task was begun.
  unsigned attempts() const noexcept { return attempts_; }

 private:
  std::shared_ptr<const CrashReport> report_;  // Copying an exception must not throw.
  unsigned attempts_;
};

/// A task used more memory than it may.
class OutOfMemory : public Error {
 public:
  OutOfMemory(const std::string& text, std::uint64_t limit_bytes, std::uint64_t peak_bytes)
      : Error(text), limit_bytes_(limit_bytes), peak_bytes_(peak_bytes) {}

  std::uint64_t limit_bytes() const noexcept { return limit_bytes_; }
  /// The most that it used.
  std::uint64_t peak_bytes() const noexcept { return peak_bytes_; }

 private:
  std::uint64_t limit_bytes_;
  std::uint64_t peak_bytes_;
};

/// A task used more CPU time than it may.
class CpuTimeExceeded : public Error {
 public:
  using Error::Error;
};

/// An exception that was thrown in another thread or process and whose own type cannot be made again here.
class RemoteError : public Error {
 public:
  RemoteError(std::string type_name, const std::string& text)
      : Error(type_name + ": " + text), type_name_(std::move(type_name)) {}

  /// The readable name of the type that was thrown, for example "my::ParseError".
  const std::string& type_name() const noexcept { return type_name_; }

 private:
  std::string type_name_;
};

/// Thrown by tandem::exit(): ends the current thread's or child process's body quietly. Not an error, so it is not
/// derived from std::exception and passes through handlers that catch that.
class ExitRequest {
 public:
  explicit ExitRequest(int code) noexcept : code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

}  // namespace tandem
