#include "cluster_running_launch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

namespace tandem::tool {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// A launch that has ended is started again after this time, twice as long each time, at most so long.
constexpr milliseconds kAgainFirst{1000}, kAgainMost{60'000};
// One that has run for so long is as good as new.
constexpr milliseconds kLongLife{60'000};

}  // namespace

RunningLaunch::RunningLaunch(Launch launch, const std::string& run_id, KeeperReports& reports)
    : launch_(std::move(launch)), mark_(started_mark(run_id) + " "), reports_(&reports), start_after_(kAgainFirst) {}

void RunningLaunch::start() {
  since_ = Clock::now();
  start_at_ = Clock::time_point::max();
  PipeEnds out;
  PipeEnds in;
  ChildSetup setup;
  setup.words = launch_.words;
  setup.environment = launch_.environment;
  setup.out_fd = setup.err_fd = out.write.get();
  if (!launch_.input.empty()) {
    setup.in_fd = in.read.get();
    // All of the input has room in it: nobody may ever read it.
    ::fcntl(in.write.get(), F_SETPIPE_SZ, 1 << 20);
  }
  line_.clear();
  last_line_.clear();
  started_ = 0;
  // A group of its own, so that what a launcher starts can be ended with it.
  setup.own_session = true;
  pid_ = start_child(setup);
  if (!launch_.input.empty()) {
    ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    if (!write_all(in.write.get(), launch_.input)) reports_->log(where() + ": takes no input");
    in_ = std::move(in.write);
  }
  ::fcntl(out.read.get(), F_SETFL, O_NONBLOCK);
  out_ = std::move(out.read);
}

void RunningLaunch::start_later() {
  if (Clock::now() - since_ >= kLongLife) start_after_ = kAgainFirst;
  start_at_ = Clock::now() + start_after_;
  start_after_ = std::min(kAgainMost, start_after_ * 2);
}

void RunningLaunch::take_line(const std::string& line) {
  if (line.empty()) return;
  if (line.starts_with(mark_)) {
    ++started_;
    const std::string node = line.substr(mark_.size());
    reports_->log(fmt::format("{}: started as {}", where(), node));
    reports_->tell({"started", where(), node});
    return;
  }
  last_line_ = line;
  reports_->log(where() + ": " + line);
}

void RunningLaunch::read_output() {
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = ::read(out_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return;
    if (got == 0) {
      out_.reset();
      break;
    }
    line_.append(buffer.data(), static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end; (end = line_.find('\n', begin)) != std::string::npos; begin = end + 1)
      take_line(line_.substr(begin, end - begin - (end > begin && line_[end - 1] == '\r' ? 1 : 0)));
    line_.erase(0, begin);
    if (line_.size() > 65536) line_.clear();
  }
  take_line(line_);
  line_.clear();
}

std::optional<std::string> RunningLaunch::take_end() {
  int status = 0;
  if (pid_ <= 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  if (out_) read_output();
  out_.reset();
  in_.reset();
  pid_ = -1;
  reports_->log(fmt::format("{}: has ended: {}", where(), status_text(status)));
  const std::string why = last_line_.starts_with("tandem: ") ? last_line_.substr(8) : last_line_;
  return why.empty() ? status_text(status) : why;
}

void RunningLaunch::leave() {
  if (pid_ <= 0) return;
  if (launch_.input.empty()) {
    ::kill(pid_, started_ > 0 ? SIGUSR1 : SIGTERM);
  } else if (started_ > 0 && in_) {
    // The first word has an agent wait for what it runs, a second one not.
    write_all(in_.get(), kLeaveWord);
  } else {
    // The shell on the host may not have read its script yet: the end of its input is what it cannot miss. A command
    // that has not even got there is not waited for.
    in_.reset();
    ::kill(-pid_, SIGTERM);
  }
}

void RunningLaunch::end_agents() {
  if (pid_ <= 0) return;
  if (in_)
    write_all(in_.get(), kKillWord);
  else
    ::kill(pid_, SIGTERM);
  in_.reset();
}

void RunningLaunch::kill() const {
  if (pid_ > 0) ::kill(-pid_, SIGKILL);
}

}  // namespace tandem::tool
