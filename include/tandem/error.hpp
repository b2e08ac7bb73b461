/// Every exception type that Tandem throws on its own account. Expected outcomes (a timeout, an empty or a full queue)
/// are return values; a wrong argument is std::invalid_argument; a refusal by the system is std::system_error whose
/// text names the action and the object.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

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
