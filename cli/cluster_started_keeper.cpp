#include "cluster_started_keeper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>

#include "cluster_commands.hpp"

namespace tandem::tool {

StartedKeeper::StartedKeeper(const KeeperOrder& order, const OwnFd& lock) {
  const std::string line = to_line(order);
  PipeEnds in, out;
  ChildSetup setup;
  setup.words = {"/proc/self/exe", kKeeperWord};
  // Not for the keeper: what its agents are told is in its order.
  setup.environment["TANDEM_AGENT"] = std::nullopt;
  setup.in_fd = in.read.get();
  setup.out_fd = out.write.get();
  const OwnFd log(::open((order.folder + "/keeper.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  setup.err_fd = log.get();
  setup.kept_fd = lock.get();
  setup.own_session = true;
  pid_ = start_child(setup);
  in_ = std::move(in.write);
  out_ = std::move(out.read);
  in.read.reset();
  if (write_all(in_.get(), line)) return;
  end();
  throw std::runtime_error("the keeper of the cluster does not start");
}

std::optional<KeeperNews> StartedKeeper::hear(std::chrono::milliseconds patience) {
  for (;;) {
    if (const std::size_t end = text_.find('\n'); end != std::string::npos) {
      const std::string line = text_.substr(0, end);
      text_.erase(0, end + 1);
      return parse_news(line);
    }
    pollfd wait{out_.get(), POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(patience.count()));
    if (ready <= 0) return std::nullopt;
    std::array<char, 4096> buffer{};
    const ssize_t got = ::read(out_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw std::runtime_error("the keeper of the cluster has ended");
    text_.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

bool StartedKeeper::let_alone() {
  const std::lock_guard guard(mutex_);
  if (pid_ <= 0 || !write_all(in_.get(), kDetachWord)) return false;
  pid_ = -1;
  return true;
}

void StartedKeeper::end() noexcept {
  const std::lock_guard guard(mutex_);
  if (pid_ <= 0) return;
  in_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
}

}  // namespace tandem::tool
