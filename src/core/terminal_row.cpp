#include "core/terminal_row.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <fmt/format.h>

#include "core/system.hpp"

namespace tandem::detail {
namespace {

constexpr std::array kEndings = {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGTERM};

// The process whose row it is; 0 if none is taken. A forked child must leave the terminal alone.
std::atomic<pid_t> owner{0};
// What gives the row back, for the handler: no memory may be allocated there.
std::array<char, 64> giving_back{};
std::atomic<std::size_t> giving_back_size{0};
struct sigaction before[kEndings.size()];

void give_back() noexcept {
  if (owner.load() != ::getpid()) return;
  owner.store(0);
  static_cast<void>(::write(STDERR_FILENO, giving_back.data(), giving_back_size.load()) < 0);
}

/// Gives the row back and does what would have been done without.
void handle_ending(int signal) {
  const int error = errno;
  give_back();
  for (std::size_t at = 0; at < kEndings.size(); ++at)
    if (kEndings[at] == signal) ::sigaction(signal, &before[at], nullptr);
  ::raise(signal);
  errno = error;
}

void watch_endings() {
  for (std::size_t at = 0; at < kEndings.size(); ++at) {
    ::sigaction(kEndings[at], nullptr, &before[at]);
    if ((before[at].sa_flags & SA_SIGINFO) == 0 && before[at].sa_handler == SIG_IGN) continue;
    struct sigaction ours{};
    ours.sa_handler = handle_ending;
    ::sigemptyset(&ours.sa_mask);
    ::sigaction(kEndings[at], &ours, nullptr);
  }
}
void forget_endings() {
  for (std::size_t at = 0; at < kEndings.size(); ++at) {
    struct sigaction now{};
    ::sigaction(kEndings[at], nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == handle_ending)
      ::sigaction(kEndings[at], &before[at], nullptr);
  }
}

}  // namespace

void write_to_stderr(std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = retry_on_signal([&] { return ::write(STDERR_FILENO, text.data(), text.size()); });
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

bool TerminalRow::is_possible() noexcept {
  const char* const kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && kind != nullptr && std::string_view(kind) != "dumb" &&
         std::string_view(kind) != "";
}

bool TerminalRow::take() {
  pid_t nobody = 0;
  if (!is_possible() || !owner.compare_exchange_strong(nobody, ::getpid())) return false;
  taken_ = true;
  look_at_size();
  if (rows_ == 0) {
    owner.store(0);
    taken_ = false;
    return false;
  }
  watch_endings();
  static const bool registered = std::atexit(give_back) == 0;
  static_cast<void>(registered);
  return true;
}

TerminalRow::~TerminalRow() {
  if (!taken_) return;
  give_back();
  forget_endings();
}

void TerminalRow::look_at_size() {
  winsize size{};
  if (!taken_ || ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 3 || size.ws_col == 0) return;
  columns_ = size.ws_col;
  if (size.ws_row == rows_) return;
  // Makes room below the cursor, keeps its place (setting a region moves it), and keeps it inside of the region.
  std::string text;
  if (rows_ != 0)
    text += fmt::format(
        "\x1b"
        "7\x1b[{};1H\x1b[2K\x1b"
        "8",
        rows_);
  rows_ = size.ws_row;
  text += fmt::format(
      "\n\x1b"
      "7\x1b[1;{}r\x1b"
      "8\x1b[1A",
      rows_ - 1);
  const auto end = fmt::format_to_n(giving_back.data(), giving_back.size(),
                                    "\x1b"
                                    "7\x1b[r\x1b[{};1H\x1b[2K\x1b"
                                    "8",
                                    rows_);
  giving_back_size.store(end.size);
  write_to_stderr(text);
}

void TerminalRow::show(std::string_view text) {
  if (taken_ && owner.load() == ::getpid())
    write_to_stderr(
        fmt::format("\x1b"
                    "7\x1b[{};1H\x1b[2K{}\x1b"
                    "8",
                    rows_, text));
}

}  // namespace tandem::detail
