#include <tandem/listener.hpp>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "connection/handshake_io.hpp"
#include "connection/socket.hpp"
#include "connection/socket_channel.hpp"
#include "core/blocking.hpp"
#include "core/mutex.hpp"
#include "ipc/futex.hpp"

namespace tandem {
namespace detail {
namespace {

// So many may be on their way to be known; the next stranger takes the place of the one that has been so longest.
constexpr std::size_t kMostPeers = 64;

void check_options(const std::string& address, const SocketOptions& options) {
  if (options.handshake_timeout <= options.handshake_timeout.zero())
    throw std::invalid_argument("a handshake_timeout must be above zero");
  if (options.backlog < 1) throw std::invalid_argument("a backlog must be at least 1");
  if (!options.key && address.starts_with("tcp:"))
    throw std::invalid_argument("address '" + address +
                                "' can be reached by anybody: a key is needed, and may be empty if that is meant");
}

Connection make_connection(Fd fd, const SocketOptions& options) {
  return ChannelAccess::make(std::make_shared<SocketChannel>(std::move(fd), options.message_limit_bytes));
}

}  // namespace

/// What a Listener has; kept by those who are inside accept() too.
class ListenerCore {
 public:
  ListenerCore(const std::string& address, SocketOptions options);
  ~ListenerCore() { close(); }
  ListenerCore(const ListenerCore&) = delete;
  ListenerCore& operator=(const ListenerCore&) = delete;

  std::optional<Connection> accept(const Deadline& deadline);
  void close() noexcept TANDEM_EXCLUDES(mutex_);
  const std::string& address() const noexcept { return address_; }
  std::size_t rejected() const TANDEM_EXCLUDES(mutex_);
  PinnedFd pin() const TANDEM_EXCLUDES(mutex_);
  bool closed() const TANDEM_EXCLUDES(mutex_);

 private:
  /// One that has connected and is not known yet.
  struct Peer {
    std::shared_ptr<Fd> fd;
    Handshake handshake;
    Deadline deadline;
  };
  using Peers = std::list<Peer>;  // In the order in which they came.

  std::optional<Connection> take_step(std::vector<pollfd>& sleep_on, std::vector<std::shared_ptr<const Fd>>& keepers);
  void accept_new() TANDEM_REQUIRES(mutex_);
  void advance_all() TANDEM_REQUIRES(mutex_);
  void turn_away(Peers::iterator peer) TANDEM_REQUIRES(mutex_);

  const SocketOptions options_;
  std::string address_;
  std::string path_;  // Of the socket's file; empty if it has none.
  std::pair<dev_t, ino_t> file_{};
  pid_t owner_ = 0;

  mutable Mutex mutex_;  // Never held while anybody waits.
  PinnedFd fd_ TANDEM_GUARDED_BY(mutex_);
  Peers peers_ TANDEM_GUARDED_BY(mutex_);
  std::deque<Fd> known_ TANDEM_GUARDED_BY(mutex_);
  std::size_t rejected_ TANDEM_GUARDED_BY(mutex_) = 0;
};

ListenerCore::ListenerCore(const std::string& address, SocketOptions options) : options_(std::move(options)) {
  check_options(address, options_);
  const SocketAddress wanted = parse_address(address).front();
  Fd fd = listen_at(wanted, options_.backlog);
  address_ = local_address(fd.get()).text();
  path_ = wanted.path();
  owner_ = ::getpid();
  struct stat status{};
  if (!path_.empty() && ::stat(path_.c_str(), &status) == 0) file_ = {status.st_dev, status.st_ino};
  const MutexGuard guard(mutex_);
  fd_ = std::make_shared<const Fd>(std::move(fd));
}

void ListenerCore::close() noexcept {
  PinnedFd fd;
  Peers peers;
  std::deque<Fd> known;
  const MutexGuard guard(mutex_);
  if (!fd_) return;
  fd = std::move(fd_);
  peers.swap(peers_);
  known.swap(known_);
  // Only what this very process has made: a forked one has a copy, and the name may have been taken by another.
  struct stat status{};
  if (!path_.empty() && owner_ == ::getpid() && ::stat(path_.c_str(), &status) == 0 &&
      file_ == std::pair(status.st_dev, status.st_ino))
    ::unlink(path_.c_str());
}

std::size_t ListenerCore::rejected() const {
  const MutexGuard guard(mutex_);
  return rejected_;
}

bool ListenerCore::closed() const {
  const MutexGuard guard(mutex_);
  return fd_ == nullptr;
}

PinnedFd ListenerCore::pin() const {
  const MutexGuard guard(mutex_);
  if (!fd_) throw StateError("use of a listener that is closed");
  return fd_;
}

std::optional<Connection> ListenerCore::accept(const Deadline& deadline) {
  for (;;) {
    std::vector<pollfd> sleep_on;
    std::vector<std::shared_ptr<const Fd>> keepers;
    std::optional<Connection> connection = take_step(sleep_on, keepers);
    if (connection || deadline.passed()) return connection;
    const BlockingSection blocking;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left(kLongestSleep));
    static_cast<void>(::poll(sleep_on.data(), sleep_on.size(), static_cast<int>(left.count())));
  }
}

std::optional<Connection> ListenerCore::take_step(std::vector<pollfd>& sleep_on,
                                                  std::vector<std::shared_ptr<const Fd>>& keepers) {
  const MutexGuard guard(mutex_);
  if (!fd_) throw StateError("accept() on a listener that is closed");
  accept_new();
  advance_all();
  if (!known_.empty()) {
    Fd fd = std::move(known_.front());
    known_.pop_front();
    return make_connection(std::move(fd), options_);
  }
  sleep_on.push_back({fd_->get(), POLLIN, 0});
  keepers.push_back(fd_);
  for (const Peer& peer : peers_) {
    const short events = peer.handshake.to_send().empty() ? POLLIN : POLLOUT;
    sleep_on.push_back({peer.fd->get(), events, 0});
    keepers.push_back(peer.fd);
  }
  return std::nullopt;
}

void ListenerCore::accept_new() {
  // Not for ever, however fast they come.
  for (std::size_t count = 0; count < kMostPeers; ++count) {
    int error = 0;
    Fd fd = accept_one(fd_->get(), error);
    if (error != 0) {
      // Too many descriptors, or no memory. A stranger's place may help; if there is none, the caller must.
      if (peers_.empty()) throw_system_error(error, "cannot accept a connection at " + address_);
      turn_away(peers_.begin());
      return;
    }
    if (!fd) return;
    if (!options_.key && !peer_is_of_this_user(fd.get())) {
      ++rejected_;
      continue;
    }
    if (peers_.size() == kMostPeers) turn_away(peers_.begin());
    peers_.push_back({std::make_shared<Fd>(std::move(fd)), Handshake(Handshake::Role::Listener, options_.key),
                      Deadline::after(options_.handshake_timeout)});
  }
}

void ListenerCore::advance_all() {
  for (auto peer = peers_.begin(); peer != peers_.end();) {
    const auto here = peer++;
    const Progress progress = advance(here->handshake, here->fd->get());
    if (progress == Progress::Done) {
      known_.push_back(std::move(*here->fd));
      peers_.erase(here);
    } else if (progress == Progress::Failed || here->deadline.passed()) {
      turn_away(here);
    }
  }
}

void ListenerCore::turn_away(Peers::iterator peer) {
  peers_.erase(peer);
  ++rejected_;
}

}  // namespace detail

Listener::Listener(const std::string& address, SocketOptions options)
    : core_(std::make_shared<detail::ListenerCore>(address, std::move(options))) {}

Listener& Listener::operator=(Listener&& other) noexcept {
  close();
  core_ = std::move(other.core_);
  return *this;
}

Listener::~Listener() {
  close();
}

std::optional<Connection> Listener::accept_until(const detail::Deadline& deadline) {
  if (!core_) throw StateError("accept() on a Listener that was moved from");
  const std::shared_ptr<detail::ListenerCore> core = core_;
  return core->accept(deadline);
}

const std::string& Listener::address() const {
  if (!core_) throw StateError("address() of a Listener that was moved from");
  return core_->address();
}

std::size_t Listener::rejected() const {
  return core_ ? core_->rejected() : 0;
}

int Listener::fileno() const {
  if (!core_) throw StateError("fileno() of a Listener that was moved from");
  return core_->pin()->get();
}

void Listener::close() noexcept {
  if (core_) core_->close();
}

bool Listener::closed() const noexcept {
  return !core_ || core_->closed();
}

Connection Client(const std::string& address, const SocketOptions& options) {
  detail::check_options(address, options);
  const auto deadline = detail::Deadline::after(options.handshake_timeout);
  const std::vector<detail::SocketAddress> places = detail::parse_address(address);
  detail::Fd fd;
  for (std::size_t i = 0; !fd; ++i) {
    try {
      fd = detail::connect_to(places[i], deadline);
    } catch (const std::system_error&) {
      if (i + 1 == places.size()) throw;  // A host may be reachable by one of its addresses only.
    }
  }
  if (!options.key && !detail::peer_is_of_this_user(fd.get()))
    throw AuthenticationError("the listener at " + address + " is of another user: without a key that is refused");
  detail::Handshake handshake(detail::Handshake::Role::Client, options.key);
  detail::run_handshake(handshake, fd.get(), deadline, address);
  return detail::make_connection(std::move(fd), options);
}

}  // namespace tandem
