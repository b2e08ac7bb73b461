/// How the library itself logs: records that name no source file, since the library's would tell a user nothing.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include <tandem/log.hpp>

namespace tandem::detail {

/// Whether records of this level are wanted.
inline bool logs(LogLevel level) noexcept {
  return level != LogLevel::Off && level <= log_level();
}

/// Hands a record without a place to the sink, whatever the level in force.
void write_record(LogLevel level, std::string_view text) noexcept;

/// Records a line of the library. The arguments are looked at only if the level says so.
template <class... Args>
void log_line(LogLevel level, fmt::format_string<Args...> format, Args&&... args) noexcept {
  if (!logs(level)) return;
  try {
    write_record(level, fmt::format(format, std::forward<Args>(args)...));
  } catch (...) {
    write_record(level, "a line of the log is lost: out of memory");
  }
}

/// Makes this process read TANDEM_LOG at the next look at the level: for a child that was given one of its own.
void forget_log_level() noexcept;

}  // namespace tandem::detail
