/// Which clients an agent has heard, and which of them count as dead.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tandem::detail {

/// Clients by their heartbeats. One is silent if it said that it ends, or was not heard for so long as it said itself
/// that this would mean; one that has never been heard, for so long as this side says. What was not heard before
/// listen_anew() says nothing.
///
/// Threads: one at a time.
class NatsHeardClients {
 public:
  explicit NatsHeardClients(std::chrono::milliseconds silence) noexcept : silence_(silence) {}

  /// Its heartbeat, `silence` being what it said, 0 if nothing; or, if it `ended`, its last word.
  void hear(const std::string& client, bool ended, std::chrono::milliseconds silence);
  /// The connection was lost, or is there again.
  void listen_anew() { listening_since_ = Clock::now(); }
  bool is_silent(const std::string& client) const;
  /// How much later a task of a silent client is to be looked at again; empty if it was long enough. How often it was
  /// handed out says nothing: that counts what agents gave back, too.
  std::optional<std::chrono::milliseconds> put_off_for(const std::string& client);
  /// A result is stored for it, which is nobody's if it dies. One that was not heard yet is to be missed from now on.
  void serve(const std::string& client);
  /// Forgets those that are silent, and says which of them were served.
  std::vector<std::string> take_dead();

 private:
  using Clock = std::chrono::steady_clock;
  struct Heard {
    Clock::time_point at{};
    std::chrono::milliseconds silence{0};
    bool ended = false;
    bool served = false;
  };
  bool is_silent(const Heard* heard) const;

  const std::chrono::milliseconds silence_;
  std::map<std::string, Heard> heard_;
  // Clients that were not heard when a task of theirs came, and when that was first.
  std::map<std::string, Clock::time_point> missed_;
  Clock::time_point listening_since_ = Clock::now();
};

}  // namespace tandem::detail
