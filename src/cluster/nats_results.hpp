/// The results of an agent that are on their way to the store.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/engine.hpp"
#include "cluster/nats_message.hpp"

namespace tandem::detail {

/// A result that is not known to be stored.
struct NatsResult {
  using Clock = std::chrono::steady_clock;

  std::string ack;
  NatsHead head;      // Of the result.
  unsigned part = 0;  // Of a result of which there is more to come; 0: it ends the lease.
  std::optional<PieceList> of_task;
  std::vector<std::byte> result;
  bool sent = false;  // Who sets it has the rest to itself until there is an answer.
  unsigned times_sent = 0;
  Clock::time_point again_at{};
  Clock::time_point renewed_at = Clock::now();
};
using NatsResultPtr = std::shared_ptr<NatsResult>;

/// All of these, each by a number. Threads: one at a time.
class NatsResults {
 public:
  /// `most_bytes`, `most_items`: see EngineOptions::unstored_bytes.
  NatsResults(std::size_t most_bytes, std::size_t most_items) noexcept
      : most_bytes_(most_bytes), most_items_(most_items) {}

  bool empty() const noexcept { return results_.empty(); }
  /// One always has room if there is no other.
  bool has_room_for(std::size_t bytes) const noexcept;
  /// Adds one that the caller sends, and gives its number.
  std::uint64_t add(const NatsResultPtr& result);
  /// Null if it is not here any more.
  NatsResultPtr find(std::uint64_t number) const;
  /// It is stored; false if it is not here any more.
  bool remove(std::uint64_t number);
  /// Calls `renew` with where each lease is kept that has to be renewed, having had no renewal for `rhythm`.
  void renew(std::chrono::milliseconds rhythm, const std::function<void(const std::string& ack)>& renew);
  /// Whether one waits to be sent again.
  bool has_unsent() const noexcept;
  /// Those that are to be sent again now, which the caller does.
  std::vector<std::pair<std::uint64_t, NatsResultPtr>> take_due();
  /// Copies, and forgets, all: somebody may be about to send one.
  std::vector<UnstoredResult> take_all();

 private:
  const std::size_t most_bytes_;
  const std::size_t most_items_;
  std::map<std::uint64_t, NatsResultPtr> results_;
  std::size_t bytes_ = 0;
  std::uint64_t next_ = 0;
};

}  // namespace tandem::detail
