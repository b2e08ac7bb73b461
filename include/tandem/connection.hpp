/// Two-way and one-way pipes for values, bytes and descriptors.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/message.hpp>
#include <tandem/error.hpp>
#include <tandem/wire.hpp>

namespace tandem {
namespace detail {
class Channel;
struct ChannelAccess;
}  // namespace detail

/// One end of a pipe, or of a socket made by Listener and Client. Handle: copies in one process share one descriptor.
///
///   auto [here, there] = tandem::Pipe();
///   tandem::Process p(serve, there);   // void serve(tandem::Connection)
///   p.start();
///   there.close();                     // or the end of the stream would not be seen here
///   here.send(std::string("question"));
///   int answer = here.recv<int>();
///
/// It can be an argument of a process and part of a message through a pipe; the process that receives it has a
/// descriptor of its own. A message is whole or not there at all, also when several threads and processes use one end
/// of a pipe. Of a socket, one process at a time may use an end.
///
/// Threads and processes: every member may be called at once from any thread. Not for signal handlers.
/// Killed peers: a sender killed in send() has sent the message or not; what a killed process was receiving is gone
/// with it; when the last process that has the other end is dead, recv() throws EndOfStream once all is received. A
/// message that nobody receives is freed with the pipe, and with it the holds of the handles in it.
/// Memory ordering: what happened before send() is seen behind the recv() of that message.
/// Errors: EndOfStream, BrokenPipe; StateError for the wrong direction and for use after close(); WireError if a
/// message is not of the type asked for (it is then taken) or cannot travel; std::invalid_argument for a negative
/// timeout; std::system_error, and then nothing was sent.
/// Units: bytes, and timeouts on the steady clock.
/// Cost: one system call each to send and to receive. Messages over 32 KiB and those with handles lie in the shared
/// arena meanwhile, so that send() does not wait for the receiver until some hundred messages wait.
class Connection {
 public:
  /// None: every use throws StateError.
  Connection() noexcept = default;

  /// Sends a value; waits while the pipe is full. Throws BrokenPipe if the other end is closed everywhere.
  template <Portable T>
  void send(const T& value) {
    static_cast<void>(send_value(value, detail::Deadline::never()));
  }
  /// As send(), but gives up after `timeout`: false, and nothing was sent. On a socket, a message of which a part was
  /// sent when the time was over breaks the connection: BrokenPipe.
  template <Portable T, class Rep, class Period>
  [[nodiscard]] bool send_for(const T& value, std::chrono::duration<Rep, Period> timeout) {
    return send_value(value, detail::Deadline::after(timeout));
  }
  /// Receives a value; waits for it. Throws EndOfStream when nothing is left and the other end is closed everywhere,
  /// and WireError if the message is no T or was sent as bytes.
  template <Portable T>
  [[nodiscard]] T recv() {
    return receive(detail::Deadline::never())->template decode<T>();
  }
  /// As recv(), but gives up after `timeout`: empty.
  template <Portable T, class Rep, class Period>
  [[nodiscard]] std::optional<T> recv_for(std::chrono::duration<Rep, Period> timeout) {
    std::optional<detail::Message> message = receive(detail::Deadline::after(timeout));
    if (!message) return std::nullopt;
    return message->template decode<T>();
  }

  /// Sends bytes as they are, as one message, which may be empty.
  void send_bytes(std::span<const std::byte> bytes) {
    static_cast<void>(send_message(detail::Outgoing(bytes, false), detail::Deadline::never()));
  }
  /// As send_bytes(), but gives up after `timeout`, as send_for() does.
  template <class Rep, class Period>
  [[nodiscard]] bool send_bytes_for(std::span<const std::byte> bytes, std::chrono::duration<Rep, Period> timeout) {
    return send_message(detail::Outgoing(bytes, false), detail::Deadline::after(timeout));
  }
  /// Receives one message sent by send_bytes(); waits for it.
  [[nodiscard]] std::vector<std::byte> recv_bytes() { return *take_bytes(detail::Deadline::never()); }
  /// As recv_bytes(), but gives up after `timeout`: empty.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<std::vector<std::byte>> recv_bytes_for(std::chrono::duration<Rep, Period> timeout) {
    return take_bytes(detail::Deadline::after(timeout));
  }
  /// As recv_bytes(), into `buffer` from `offset` on; gives the size. Throws BufferTooShort, which carries the message,
  /// if there is too little room; std::invalid_argument if `offset` is behind the end.
  std::size_t recv_bytes_into(std::span<std::byte> buffer, std::size_t offset = 0);

  /// Whether recv() would not wait: there is a message, or the end. (If others receive here too, they may be faster.)
  [[nodiscard]] bool poll() const { return poll_until(detail::Deadline::now()); }
  /// Waits for that for at most `timeout`.
  template <class Rep, class Period>
  [[nodiscard]] bool poll_for(std::chrono::duration<Rep, Period> timeout) const {
    return poll_until(detail::Deadline::after(timeout));
  }

  /// Whether this end receives ...
  [[nodiscard]] bool readable() const noexcept;
  /// ... and whether it sends. Constant; a one-way end keeps its direction wherever it is sent.
  [[nodiscard]] bool writable() const noexcept;
  /// The descriptor, for poll() and its like. It belongs to this connection: reading or writing it breaks the messages.
  [[nodiscard]] int fileno() const;
  /// Closes this process's descriptor, for all copies of this handle in it; calls that wait in other threads then
  /// throw StateError within 100 ms. A second call does nothing. Without it, the last copy closes.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept;

  /// Whether both share one descriptor.
  friend bool operator==(const Connection& a, const Connection& b) noexcept { return a.channel_ == b.channel_; }

  // For the wire.
  void save(detail::Encoder& encoder) const;
  void load(detail::Decoder& decoder);

 private:
  friend struct detail::ChannelAccess;
  explicit Connection(std::shared_ptr<detail::Channel> channel) noexcept : channel_(std::move(channel)) {}

  detail::Channel& channel() const;
  detail::Encoder::Purpose begin_send() const;
  bool send_message(const detail::Outgoing& message, const detail::Deadline& deadline);
  std::optional<detail::Message> receive(const detail::Deadline& deadline);
  std::optional<std::vector<std::byte>> take_bytes(const detail::Deadline& deadline);
  bool poll_until(const detail::Deadline& deadline) const;

  template <class T>
  bool send_value(const T& value, const detail::Deadline& deadline) {
    const detail::Encoder::Purpose purpose = begin_send();
    if constexpr (detail::kRule<T> == detail::Rule::Bytes) {  // Without a copy.
      return send_message(detail::Outgoing(std::as_bytes(std::span(&value, 1)), true), deadline);
    } else {
      detail::Encoder encoder(purpose);
      detail::encode(encoder, value);
      return send_message(detail::Outgoing(encoder), deadline);
    }
  }

  std::shared_ptr<detail::Channel> channel_;
};

/// Whether a pipe carries messages both ways.
enum class Duplex { No, Yes };

/// Makes a pipe: two ends, each of which receives what the other sends. With Duplex::No the first one receives only and
/// the second one sends only. Throws std::system_error.
[[nodiscard]] std::pair<Connection, Connection> Pipe(Duplex duplex = Duplex::Yes);

}  // namespace tandem
