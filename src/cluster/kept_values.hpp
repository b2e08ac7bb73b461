/// The values that a client keeps at the engine for its tasks.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

#include <tandem/detail/shared_object.hpp>

namespace tandem::detail {

/// Values that tasks refer to, and the initializer, by the generation of their objects: which of them the engine has,
/// and when each was used last. Threads: one at a time.
class KeptValues {
 public:
  using Clock = std::chrono::steady_clock;

  /// A task refers to it. Gives its number.
  std::uint64_t note(const SharedObjectPtr& object);
  bool empty() const noexcept { return values_.empty(); }
  /// Whether the engine has all of these, each of which is here.
  bool are_stored(const std::vector<std::uint64_t>& numbers) const;
  /// One that is to be stored, which the caller does: what a node misses from here on is missed again. Null if there is
  /// none.
  SharedObjectPtr take_unstored();
  /// The engine does not have it. Whether it is news.
  bool lose(std::uint64_t number);
  /// A task that is out refers to these.
  void use(const std::vector<std::uint64_t>& numbers, Clock::time_point now);
  /// Takes out those that nothing in this process has referred to for 10 s.
  std::vector<SharedObjectPtr> take_unused(Clock::time_point now);

 private:
  struct Kept {
    SharedObjectPtr object;
    bool is_stored = false;
    Clock::time_point used_at{};
  };
  std::map<std::uint64_t, Kept> values_;
};

}  // namespace tandem::detail
