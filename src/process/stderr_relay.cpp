#include "process/stderr_relay.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>

namespace tandem::detail {
namespace {

// What a pipe that is ready takes without waiting (PIPE_BUF).
constexpr std::size_t kPieceBytes = 4096;

// How many bytes were written; 0 if standard error takes none now. One that is closed or broken takes all, and there is
// nobody to tell.
std::size_t write_some(const char* bytes, std::size_t size) {
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (retry_on_signal([&] { return ::poll(&out, 1, 0); }) == 0) return 0;
  const ssize_t written = retry_on_signal([&] { return ::write(STDERR_FILENO, bytes, std::min(size, kPieceBytes)); });
  if (written < 0) return errno == EAGAIN ? 0 : size;
  return static_cast<std::size_t>(written);
}

}  // namespace

void StderrOut::write(const char* bytes, std::size_t size) {
  if (pending_.empty()) {
    while (size > 0) {
      const std::size_t written = write_some(bytes, size);
      if (written == 0) break;
      bytes += written;
      size -= written;
    }
  }
  pending_.append(bytes, size);
}

bool StderrOut::flush() {
  std::size_t done = 0;
  while (done < pending_.size()) {
    const std::size_t written = write_some(pending_.data() + done, pending_.size() - done);
    if (written == 0) break;
    done += written;
  }
  pending_.erase(0, done);
  return pending_.empty();
}

StderrRelay::StderrRelay(Fd pipe) : pipe_(std::move(pipe)) {
  if (::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK) != 0) throw_errno("cannot set up a child's standard error");
}

bool StderrRelay::pump(StderrOut& out, bool all) {
  char bytes[16 * 1024];
  while (all || !out.full()) {
    const ssize_t size = retry_on_signal([&] { return ::read(pipe_.get(), bytes, sizeof bytes); });
    if (size == 0) return false;
    if (size < 0) return true;
    out.write(bytes, static_cast<std::size_t>(size));
    last_.append(bytes, static_cast<std::size_t>(size));
    // In big steps, so that each byte is moved only a few times.
    if (last_.size() > 4 * kTailBytes) last_.erase(0, last_.size() - kTailBytes);
  }
  return true;
}

std::vector<std::string> StderrRelay::tail() const {
  std::vector<std::string> lines;
  std::size_t end = last_.size();
  if (end > 0 && last_[end - 1] == '\n') --end;
  const std::size_t oldest = last_.size() > kTailBytes ? last_.size() - kTailBytes : 0;
  while (lines.size() < kTailLines && end > oldest) {
    const std::size_t before = last_.rfind('\n', end - 1);
    const std::size_t begin = before == std::string::npos || before + 1 < oldest ? oldest : before + 1;
    lines.push_back(last_.substr(begin, end - begin));
    if (begin <= oldest) break;
    end = begin - 1;
    if (end == oldest) {
      lines.emplace_back();
      break;
    }
  }
  std::reverse(lines.begin(), lines.end());
  return lines;
}

}  // namespace tandem::detail
