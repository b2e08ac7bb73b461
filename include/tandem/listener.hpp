/// Connections between programs, over sockets.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include <tandem/connection.hpp>
#include <tandem/detail/deadline.hpp>

namespace tandem {
namespace detail {
class ListenerCore;
}  // namespace detail

/// How two programs that meet over a socket treat each other. Value.
struct SocketOptions {
  /// The secret that both sides must have. It may be empty, which keeps nobody out who knows that. Without one, which
  /// only sockets of the Unix family allow, the other side must be a process of the same user.
  std::optional<std::string> key{};
  /// How long the other side may take from its connecting until it is known; for Client, connecting included.
  std::chrono::milliseconds handshake_timeout{5000};
  /// The longest message that is received. A longer one is a WireError and ends the connection.
  std::size_t message_limit_bytes = std::size_t{256} << 20;
  /// How many may wait to be accepted before the system refuses more.
  int backlog = 128;
};

/// Takes connections from other programs. Owner: move-only; its destructor closes.
///
///   tandem::Listener listener("tcp:0.0.0.0:5000", {.key = secret});
///   for (;;) serve(listener.accept());
///
///   tandem::Connection connection = tandem::Client("tcp:server:5000", {.key = secret});     // in the other program
///
/// Addresses: "unix:/path", "unix:@name" (a name without a file), "tcp:host:port" with an IPv6 address in brackets;
/// port 0 lets the system choose.
///
/// Both sides prove to each other that they have the key (HMAC-SHA256 over random numbers of both) before a byte of a
/// message is read, and neither sends it. Who does not have it learns nothing and cannot make this process take more
/// than a kilobyte. After that, messages are neither encrypted nor signed: for networks that nobody else can write to.
/// Values come over a socket, no handles, descriptors or functions: WireError.
///
/// Threads: every member may be called at once from any thread, except the destructor and moving.
/// Killed peers: are the end of their stream. A killed listener leaves the file of "unix:/path" behind, which must be
/// removed before that address can be used again; other addresses leave nothing.
/// Errors: std::invalid_argument for an address or an option that makes no sense; StateError after close();
/// std::system_error.
class Listener {
 public:
  /// Binds and listens. Throws std::system_error, for example if the address is in use; std::invalid_argument for
  /// "tcp:" without a key.
  explicit Listener(const std::string& address, SocketOptions options = {});
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();

  /// Waits for the next program that connects and proves itself. Those that do not are turned away, and hold up nobody
  /// meanwhile: several are dealt with side by side.
  [[nodiscard]] Connection accept() { return *accept_until(detail::Deadline::never()); }
  /// As accept(), but gives up after `timeout`: empty. Throws std::invalid_argument for a negative one.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Connection> accept_for(std::chrono::duration<Rep, Period> timeout) {
    return accept_until(detail::Deadline::after(timeout));
  }

  /// Where it listens, for Client: as given, but with the port that the system chose.
  [[nodiscard]] const std::string& address() const;
  /// How many were turned away: a wrong key, none, too slow, or not of this protocol.
  [[nodiscard]] std::size_t rejected() const;
  /// The descriptor, ready to be read when somebody has come; for wait() and its like. It belongs to this Listener.
  [[nodiscard]] int fileno() const;
  /// Stops listening; an accept() in another thread then throws StateError within 100 ms. A second call does nothing.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept;

 private:
  std::optional<Connection> accept_until(const detail::Deadline& deadline);

  std::shared_ptr<detail::ListenerCore> core_;
};

/// Connects to a Listener. Throws AuthenticationError if either side does not have the key of the other;
/// std::system_error if nobody listens there, or nobody answers in time.
[[nodiscard]] Connection Client(const std::string& address, const SocketOptions& options = {});

}  // namespace tandem
