/// How long a client's tasks take, and so how many of them are out and go together.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tandem::detail {

/// For tests: how long each call is taken to take, whatever it took. 0: as measured.
extern std::atomic<std::int64_t> assumed_call_nanoseconds;

/// What results have said. Tasks that take 5 ms at the most are short: more of them are out than there are slots, and
/// they travel in batches. Threads: one at a time.
class TaskPace {
 public:
  /// One took so long.
  void note(std::int64_t nanoseconds);
  /// One made others wait until their agent sent them back.
  void note_long();
  bool is_short() const noexcept;
  /// Of short ones, how many more are out for each slot: so that a node has the next one when a result leaves.
  std::size_t ahead() const;
  /// How many go into one message.
  std::size_t most_in_batch() const;

 private:
  double nanoseconds_ = 0;  // 0: unknown.
};

}  // namespace tandem::detail
