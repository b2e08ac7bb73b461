/// What is behind a Connection: a descriptor, and a way to pass messages through it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

#include <tandem/connection.hpp>

#include "core/mutex.hpp"
#include "core/system.hpp"

namespace tandem::detail {

/// A descriptor in use: open at least as long as this lives, whoever closes the channel meanwhile.
using PinnedFd = std::shared_ptr<const Fd>;

/// Waits until a descriptor is ready for `events` (or has an error, which the next call on it will tell), the deadline,
/// or kLongestSleep, whichever is first; whether it is ready. Releases the Gil meanwhile.
bool wait_until_ready(int fd, short events, const Deadline& deadline);

/// The untyped inside of a Connection; shared by its copies in this process.
///
/// Threads: every member from any.
class Channel {
 public:
  struct Direction {
    bool readable = true;
    bool writable = true;
  };

  virtual ~Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// What values are encoded for.
  virtual Encoder::Purpose purpose() const noexcept = 0;
  /// As the members of Connection, which has checked the direction.
  virtual bool send(const Outgoing& message, const Deadline& deadline) = 0;
  virtual std::optional<Message> receive(const Deadline& deadline) = 0;
  /// Writes what load_channel() needs.
  virtual void save(Encoder& encoder) const = 0;

  bool poll(const Deadline& deadline) const;
  Direction direction() const noexcept { return direction_; }
  /// The descriptor; throws StateError once closed.
  PinnedFd pin() const TANDEM_EXCLUDES(mutex_);
  void close() noexcept TANDEM_EXCLUDES(mutex_);
  bool closed() const noexcept TANDEM_EXCLUDES(mutex_);

 protected:
  Channel(Fd fd, Direction direction) : direction_(direction), fd_(std::make_shared<const Fd>(std::move(fd))) {}
  /// Throws StateError if it is closed: for those who have waited.
  void check_open() const { static_cast<void>(pin()); }

 private:
  const Direction direction_;
  mutable Mutex mutex_;
  PinnedFd fd_ TANDEM_GUARDED_BY(mutex_);  // Null once closed.
};

/// Takes a Connection apart and makes one.
struct ChannelAccess {
  static Connection make(std::shared_ptr<Channel> channel) { return Connection(std::move(channel)); }
  /// Throws StateError if there is none.
  static Channel& channel(const Connection& connection) { return connection.channel(); }
};

/// The kinds of channel, as they are named on the wire.
enum class ChannelKind : std::uint8_t { None, Pipe, Socket };

}  // namespace tandem::detail
