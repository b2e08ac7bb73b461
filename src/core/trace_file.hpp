/// A file of events that Perfetto and chrome://tracing open: the "JSON Array Format" of Chrome's trace viewer.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/mutex.hpp"
#include "core/system.hpp"

namespace tandem::detail {

/// The text as a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

/// One file, which all who name it in this process share, and which processes started by this one append to.
///
/// Threads: every member may be called from any thread.
/// Killed programs: each event is written at once, by one system call, and the format needs no end: what was written
/// before is there, and the file opens.
class TraceFile {
 public:
  using Clock = std::chrono::steady_clock;

  /// Opens it; `begin_anew` if this is the first of the processes that write it. Throws std::system_error.
  static std::shared_ptr<TraceFile> open(const std::string& path, bool begin_anew);
  explicit TraceFile(Fd fd, bool ends_it) noexcept;
  /// Ends the file in order, if this process has begun it and nobody else wrote the end.
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  /// Writes an event. `phase` is its letter in the format; `more` is the rest of the object, as R"("dur":12.5)".
  void write(char phase, std::string_view name, std::string_view category, Clock::time_point at, std::int64_t thread,
             std::string_view more) noexcept;
  /// Gives a thread its name.
  void name_thread(std::int64_t thread, std::string_view name) noexcept;

 private:
  void append(std::string_view text) noexcept;
  const Fd fd_;
  const bool ends_it_;
  const int process_;
};

/// As the format has times: microseconds with three decimals.
std::string trace_time(std::chrono::nanoseconds time);

}  // namespace tandem::detail
