/// What the log says, kept instead of printed.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include <tandem/log.hpp>

namespace tandem::testing {

/// While it lives, lines of the log up to `level` are kept here. Owner.
class CaughtLog {
 public:
  explicit CaughtLog(LogLevel level = LogLevel::Warning) : level_before_(log_level()) {
    set_log_level(level);
    sink_before_ = set_log_sink([this](const LogRecord& record) {
      const std::lock_guard guard(mutex_);
      lines_.emplace_back(record.text);
    });
  }
  ~CaughtLog() {
    set_log_sink(sink_before_);
    set_log_level(level_before_);
  }
  CaughtLog(const CaughtLog&) = delete;
  CaughtLog& operator=(const CaughtLog&) = delete;

  std::vector<std::string> lines() {
    const std::lock_guard guard(mutex_);
    return lines_;
  }

 private:
  const LogLevel level_before_;
  LogSink sink_before_;
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace tandem::testing
