#include "core/log.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

namespace tandem {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"off", "error", "warning", "info", "debug"};
constexpr char kVariable[] = "TANDEM_LOG";

constexpr int kUnknown = -1;  // Nobody has set it, nor looked.
std::atomic<int> level_in_force{kUnknown};

// Never freed: there is no lock that a forked child could find held, and whoever has read the pointer may be in the
// sink.
struct SinkInForce {
  LogSink sink;
  const SinkInForce* before;
};
// SYNC(log-sink): release makes the sink visible to who finds the pointer.
std::atomic<const SinkInForce*> sink_in_force{nullptr};

thread_local bool inside_sink = false;

void write_record(LogLevel level, std::string_view text, std::optional<std::source_location> where) noexcept {
  const LogRecord record{level, text, std::chrono::system_clock::now(), ::getpid(), ::gettid(), where};
  const SinkInForce* const own = sink_in_force.load(std::memory_order_acquire);
  if (own == nullptr || !own->sink || inside_sink) return default_log_sink(record);
  inside_sink = true;
  try {
    own->sink(record);
  } catch (...) {
    default_log_sink(record);
  }
  inside_sink = false;
}

std::optional<LogLevel> level_called(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<LogLevel>(i);
  return std::nullopt;
}

LogLevel read_level() noexcept {
  const char* const text = std::getenv(kVariable);
  const std::optional<LogLevel> named = text == nullptr ? LogLevel::Warning : level_called(text);
  // Another thread may have looked or set it meanwhile; then that one has also said what there is to say.
  int found = kUnknown;
  const LogLevel level = named.value_or(LogLevel::Warning);
  if (!level_in_force.compare_exchange_strong(found, static_cast<int>(level), std::memory_order_relaxed))
    return static_cast<LogLevel>(found);
  if (!named)
    detail::log_line(LogLevel::Warning,
                     "{} is \"{}\": it must be off, error, warning, info or debug; warning is in force", kVariable,
                     text);
  return level;
}

// By hand: the C library's functions take the lock of the time zone, which a forked child may find held for ever.
std::string text_of(std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<milliseconds>(time - day));
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

std::string line_of(const LogRecord& record) {
  std::string line =
      fmt::format("{} tandem[{}] {}: {}", text_of(record.time), record.pid, to_string(record.level), record.text);
  if (record.where) {
    const std::string_view path = record.where->file_name();
    line += fmt::format(" [{}:{}]", path.substr(path.rfind('/') + 1), record.where->line());
  }
  return line += '\n';
}

}  // namespace

std::string_view to_string(LogLevel level) noexcept {
  const auto index = static_cast<std::size_t>(level);
  return index < kNames.size() ? kNames[index] : "?";
}

void set_log_level(LogLevel level) noexcept {
  level_in_force.store(static_cast<int>(level), std::memory_order_relaxed);
}

LogLevel log_level() noexcept {
  const int level = level_in_force.load(std::memory_order_relaxed);
  return level == kUnknown ? read_level() : static_cast<LogLevel>(level);
}

LogSink set_log_sink(LogSink sink) {
  auto made = std::make_unique<SinkInForce>(SinkInForce{std::move(sink), nullptr});
  const SinkInForce* before = sink_in_force.load(std::memory_order_acquire);
  do {
    made->before = before;  // Keeps it reachable, so that no search for leaks reports it.
  } while (!sink_in_force.compare_exchange_weak(before, made.get(), std::memory_order_acq_rel));
  static_cast<void>(made.release());
  return before != nullptr && before->sink ? before->sink : LogSink(default_log_sink);
}

void default_log_sink(const LogRecord& record) noexcept try {
  const std::string line = line_of(record);
  // One write, because standard error is not buffered, so that lines of several threads do not mix.
  static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
} catch (...) {
  static_cast<void>(std::fputs("tandem: a line of the log is lost: out of memory\n", stderr));
}

void log(LogLevel level, std::string_view text, const std::source_location& where) noexcept {
  if (detail::logs(level)) write_record(level, text, where);
}

void detail::write_record(LogLevel level, std::string_view text) noexcept {
  tandem::write_record(level, text, std::nullopt);
}

void detail::forget_log_level() noexcept {
  level_in_force.store(kUnknown, std::memory_order_relaxed);
}

}  // namespace tandem
