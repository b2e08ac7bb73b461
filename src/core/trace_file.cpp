#include "core/trace_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <map>

#include <fmt/format.h>

namespace tandem::detail {
namespace {

struct OpenFiles {
  Mutex mutex;
  std::map<std::string, std::shared_ptr<TraceFile>> files TANDEM_GUARDED_BY(mutex);
};
/// They stay open until the program ends: the next executor goes on in the same file.
OpenFiles& open_files() {
  static OpenFiles files;
  return files;
}

/// How many bytes at the beginning are one character of UTF-8; 0 if they are none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t at = 1; at < length; ++at)
    if ((byte(at) & 0xc0) != 0x80) return 0;
  const bool too_long = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool no_character = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return too_long || no_character ? 0 : length;
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const auto byte = static_cast<unsigned char>(text[0]);
    if (length == 0) {
      out += "\\ufffd";
    } else if (byte == '"' || byte == '\\') {
      (out += '\\') += text[0];
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out += '"';
}

std::string trace_time(std::chrono::nanoseconds time) {
  return fmt::format("{}.{:03}", time.count() / 1000, time.count() % 1000);
}

std::shared_ptr<TraceFile> TraceFile::open(const std::string& path, bool begin_anew) {
  OpenFiles& open = open_files();
  const std::string absolute = std::filesystem::absolute(path).lexically_normal();
  MutexGuard guard(open.mutex);
  std::shared_ptr<TraceFile>& file = open.files[absolute];
  if (file != nullptr) return file;
  const int flags = O_WRONLY | O_CREAT | O_APPEND | (begin_anew ? O_TRUNC : 0);
  Fd fd = open_file(absolute, flags, 0666);
  if (!fd) throw_errno("cannot write the trace " + path);
  file = std::make_shared<TraceFile>(std::move(fd), begin_anew);
  // Whoever opens the file writes an event behind which a comma can stand.
  const std::string program = std::filesystem::path(read_small_file("/proc/self/comm")).native();
  file->append(fmt::format(R"({}{{"name":"process_name","ph":"M","pid":{},"tid":0,"args":{{"name":{}}}}})",
                           begin_anew ? "[\n" : ",\n", ::getpid(), json_string(program.substr(0, program.find('\n')))));
  return file;
}

TraceFile::TraceFile(Fd fd, bool ends_it) noexcept : fd_(std::move(fd)), ends_it_(ends_it), process_(::getpid()) {}

TraceFile::~TraceFile() {
  if (ends_it_ && process_ == ::getpid()) append("\n]\n");
}

void TraceFile::write(char phase, std::string_view name, std::string_view category, Clock::time_point at,
                      std::int64_t thread, std::string_view more) noexcept {
  try {
    append(fmt::format(",\n{{\"name\":{},\"cat\":{},\"ph\":\"{}\",\"ts\":{},\"pid\":{},\"tid\":{}{}{}}}",
                       json_string(name), json_string(category), phase, trace_time(at.time_since_epoch()), ::getpid(),
                       thread, more.empty() ? "" : ",", more));
  } catch (const std::bad_alloc&) {
    // One event less.
  }
}

void TraceFile::name_thread(std::int64_t thread, std::string_view name) noexcept {
  try {
    append(fmt::format(",\n{{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":{},\"tid\":{},\"args\":{{\"name\":{}}}}}",
                       ::getpid(), thread, json_string(name)));
  } catch (const std::bad_alloc&) {
    // The thread has its number.
  }
}

void TraceFile::append(std::string_view text) noexcept {
  // What cannot be written, as on a full disk, is missing in the trace, and that is all.
  static_cast<void>(retry_on_signal([&] { return ::write(fd_.get(), text.data(), text.size()); }));
}

}  // namespace tandem::detail
