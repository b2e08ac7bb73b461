/// Sends messages that are to be stored, and says which of them were.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tandem/detail/deadline.hpp>

#include "cluster/nats_link.hpp"
#include "cluster/nats_message.hpp"
#include "cluster/nats_queues.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {

/// Messages on their way into a stream. What is on its way when the connection is lost counts as not stored, though it
/// may be.
///
/// Threads: every member may be called from any thread.
class NatsPublisher {
 public:
  /// Called once for each message that was sent, by a thread of the library or by who calls lose_all() or expire().
  using Done = std::function<void(const StoredReply&)>;

  NatsPublisher(const NatsLink& link, std::size_t max_bytes, std::size_t max_items);

  /// Waits for room and for the connection; false if it was not sent, and then `done` is not called.
  bool publish(const std::string& subject, const NatsHead* head, const std::string& message_id,
               std::span<const std::byte> payload, Done done, const Deadline& deadline) TANDEM_EXCLUDES(mutex_);
  /// The connection is lost.
  void lose_all() TANDEM_EXCLUDES(mutex_);
  /// Gives up what has had no answer for ten seconds.
  void expire() TANDEM_EXCLUDES(mutex_);
  bool idle() const TANDEM_EXCLUDES(mutex_);

 private:
  struct Pending {
    Done done;
    std::size_t bytes = 0;
    std::chrono::steady_clock::time_point sent_at;
  };
  void take(NatsMessage reply) TANDEM_EXCLUDES(mutex_);
  std::optional<Pending> remove(std::uint64_t number) TANDEM_EXCLUDES(mutex_);
  std::optional<Pending> remove_locked(std::uint64_t number) TANDEM_REQUIRES(mutex_);
  bool wait_room(std::size_t bytes, const Deadline& deadline) TANDEM_REQUIRES(mutex_);

  const NatsLink& link_;
  const std::size_t max_bytes_;
  const std::size_t max_items_;
  const std::string inbox_;
  mutable Mutex mutex_;
  ConditionVariable room_;
  std::map<std::uint64_t, Pending> pending_ TANDEM_GUARDED_BY(mutex_);  // By number, so the oldest is first.
  std::size_t bytes_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::uint64_t next_ TANDEM_GUARDED_BY(mutex_) = 0;
  NatsSubscription replies_;  // Last: it ends before what its callback uses.
};

/// Payloads that are too large for one message, cut into pieces, each a message of its own in the stream of pieces.
class NatsPieces {
 public:
  /// `owner`: a name that nobody else stores pieces by at the same time.
  NatsPieces(const NatsLink& link, const NatsNames& names, NatsPublisher& publisher, std::string owner);

  /// Whether a payload has to be cut.
  bool too_large(std::size_t bytes) const { return bytes > piece_bytes(); }
  /// Of a payload of one piece.
  std::size_t piece_bytes() const;
  /// Stores all of it; empty if a piece waits for room or for the connection longer than `patience`, or ten seconds for
  /// its answer. `go_on` is called every now and then while it waits: false ends it.
  std::optional<PieceList> put(std::span<const std::byte> payload, bool shared, std::chrono::milliseconds patience,
                               const std::function<bool()>& go_on);
  /// The same under this name, which replaces what was stored by it. Fills in how many pieces there are.
  bool put_as(PieceList& list, std::span<const std::byte> payload, std::chrono::milliseconds patience,
              const std::function<bool()>& go_on);
  enum class Got {
    All,
    Gone,  ///< It was erased, or lost.
    Away,  ///< The server does not answer.
  };
  /// Joins it again. `go_on` is called for each piece, which may take a while: false ends it, as Away.
  Got get(const PieceList& list, std::vector<std::byte>& payload, const std::function<bool()>& go_on) const;
  /// Does not wait. One that is shared stays.
  void erase(const PieceList& list) const noexcept;

 private:
  Got ask_leader(const PieceList& list) const;

  const NatsLink& link_;
  const NatsNames& names_;
  NatsPublisher& publisher_;
  const std::string owner_;
  std::atomic<std::uint64_t> next_;
};

}  // namespace tandem::detail
