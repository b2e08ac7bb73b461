/// The library's log: what it has to say by itself, and lines of the program that shall stand among these.
///
///   tandem::set_log_level(tandem::LogLevel::Debug);   // or TANDEM_LOG=debug in the environment
///   tandem::log(tandem::LogLevel::Info, "tables are loaded");
///
/// prints "2026-11-24 10:15:02.125Z tandem[4711] info: tables are loaded [main.cpp:12]" on standard error.
///
/// Threads and processes: every function may be called at once from any thread, and in a forked process at once: there
/// is no lock. Not for signal handlers. Each process has a level and a sink of its own; a child starts with the level
/// that its parent has at that moment, under every start method, unless its own TANDEM_LOG was given in its options.
/// Cost: a record that the level leaves out costs one load; another one a text and one write.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>

namespace tandem {

/// What is recorded: the chosen level and all before it.
enum class LogLevel : unsigned char {
  Off,      ///< Nothing. Not a level of a record.
  Error,    ///< Something was lost or could not be done, and there was nobody to throw to.
  Warning,  ///< Something works, but probably not as meant. The level at first.
  Info,     ///< What happens seldom: names of dead owners that were removed.
  Debug,    ///< Each step: processes started and ended, segments made.
};

/// The level's name, as TANDEM_LOG takes it: "off", "error", "warning", "info", "debug".
[[nodiscard]] std::string_view to_string(LogLevel level) noexcept;

/// Sets the level of this process, and of children started from now on.
void set_log_level(LogLevel level) noexcept;
/// The level in force: what was set last, else the parent's, else what the environment variable TANDEM_LOG says, else
/// Warning. A TANDEM_LOG that is none of the names is said once, and ignored.
[[nodiscard]] LogLevel log_level() noexcept;

/// One line of the log. Value; the views are valid while the sink runs.
struct LogRecord {
  LogLevel level = LogLevel::Info;
  std::string_view text;
  std::chrono::system_clock::time_point time;
  pid_t pid = 0;
  pid_t native_id = 0;  ///< The thread, as the system knows it.
  /// Where in the program log() was called. Empty for what the library says by itself.
  std::optional<std::source_location> where;
};

/// Takes records instead of standard error. It runs in the thread that logs, in several at once.
using LogSink = std::function<void(const LogRecord& record)>;

/// Puts a sink in force in this process, and in those forked off it; an empty one means default_log_sink. Returns the
/// one before. What a sink itself logs, and a record over which it throws, goes to default_log_sink. A sink is kept
/// until the process ends, since another thread may be in it: do not change it often.
LogSink set_log_sink(LogSink sink);

/// Writes the record on standard error in one piece, as shown above; the time is UTC.
void default_log_sink(const LogRecord& record) noexcept;

/// Records a line if the level says so. Throws nothing: a line that cannot be written is lost.
void log(LogLevel level, std::string_view text,
         const std::source_location& where = std::source_location::current()) noexcept;

}  // namespace tandem
