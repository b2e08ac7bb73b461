/// A place where threads and processes wait until all have come.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <tandem/callable.hpp>
#include <tandem/detail/deadline.hpp>
#include <tandem/detail/handle.hpp>
#include <tandem/detail/shared_object.hpp>
#include <tandem/error.hpp>

namespace tandem {

/// How a Barrier is made. Value.
struct BarrierOptions {
  /// How many threads must come. At least 1.
  std::int64_t parties = 1;
  /// After this time wait() gives up, and so breaks the barrier. Empty: never.
  std::optional<std::chrono::nanoseconds> timeout{};
};

/// Lets a fixed number of threads, of any processes, go on together, round after round. Handle: copies refer to one
/// barrier.
///
///   tandem::Barrier step(4);
///   tandem::Process p(simulate, step, part);   // void simulate(tandem::Barrier step, Part part)
///   ...
///   for (;;) { compute(part); step.wait(); exchange(part); step.wait(); }
///
/// Threads and processes: every member may be called at once from any thread of any process of the family. Not for
/// signal handlers. A thread that comes while the action of the round before still runs waits for its end first.
/// Killed peers: when a process dies that waits here, or that runs the action, the barrier breaks for the others
/// within about 100 ms, as it does when one gives up: the round could never be complete.
/// Memory ordering: what all did before wait() happens before the action, and that before what follows any wait().
/// Errors: BrokenBarrier; what the action throws, in the thread that ran it; std::invalid_argument for no parties or a
/// negative timeout; std::system_error if the arena is full.
/// Units: timeouts on the steady clock.
/// Cost: a robust lock of its own around a few words, to come and to leave, and a system call for each that sleeps.
class Barrier {
 public:
  /// Makes a barrier for so many threads.
  explicit Barrier(std::int64_t parties) : Barrier(BarrierOptions{.parties = parties}) {}
  explicit Barrier(const BarrierOptions& options) : Barrier(options, nullptr) {}
  /// The same with an action: one of the threads calls `action(args...)` in each round when all have come, before any
  /// goes on. It may run in any of the processes, so it must be able to travel, as what a Process runs. If it throws,
  /// the barrier breaks.
  template <class F, class... Args>
  Barrier(std::int64_t parties, F&& action, Args&&... args)
      : Barrier(BarrierOptions{.parties = parties}, std::forward<F>(action), std::forward<Args>(args)...) {}
  template <class F, class... Args>
    requires(!std::is_same_v<std::remove_cvref_t<F>, std::nullptr_t>)
  Barrier(const BarrierOptions& options, F&& action, Args&&... args)
      : Barrier(options, encoded_call<F, Args...>(action, args...).get()) {}

  /// Waits until all have come; a different number from 0 to parties() - 1 for each. Throws BrokenBarrier.
  std::size_t wait();
  /// As wait(), but gives up after `timeout`: empty, and then the barrier is broken for all of the round. (Only who was
  /// still waiting for the end of the last round's action belongs to none.)
  template <class Rep, class Period>
  [[nodiscard]] std::optional<std::size_t> wait_for(std::chrono::duration<Rep, Period> timeout) {
    return wait_before(detail::Deadline::after(timeout));
  }

  /// Makes the barrier as new: those who wait get BrokenBarrier.
  void reset();
  /// Breaks the barrier: those who wait, and who will until reset() is called, get BrokenBarrier.
  void abort();

  [[nodiscard]] std::size_t parties() const;
  /// How many have come, at this instant.
  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] bool broken() const;
  /// For people, for example "<Barrier(2 of 4 have come)>".
  [[nodiscard]] std::string to_string() const;

  /// Whether both refer to one barrier.
  friend bool operator==(const Barrier& a, const Barrier& b) noexcept { return a.object_ == b.object_; }

 private:
  friend struct detail::HandleAccess;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::Barrier;
  explicit Barrier(detail::SharedObjectPtr object) : object_(std::move(object)) {}
  const detail::SharedObjectPtr& shared_object() const { return object_; }

  Barrier(const BarrierOptions& options, const detail::Encoder* action);
  template <class F, class... Args>
  static std::unique_ptr<const detail::Encoder> encoded_call(const std::decay_t<F>& action,
                                                             const std::decay_t<Args>&... args) {
    auto encoder = std::make_unique<detail::Encoder>();
    detail::encode_call<F, Args...>(*encoder, action, args...);
    return encoder;
  }
  std::optional<std::size_t> wait_before(const detail::Deadline& deadline);

  detail::SharedObjectPtr object_;
};

}  // namespace tandem
