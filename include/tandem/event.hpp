/// A flag that threads and processes wait for.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/handle.hpp>
#include <tandem/detail/shared_object.hpp>

namespace tandem {

/// A flag that is set or not, shared by threads and by processes. Handle: copies refer to one event.
///
///   tandem::Event ready;
///   tandem::Process p(serve, ready);   // void serve(tandem::Event ready) { ...; ready.set(); }
///   p.start();
///   ready.wait();
///
/// Threads and processes: every member may be called at once from any thread of any process of the family. set(),
/// clear() and is_set() may also be called in a signal handler, be it while the same thread waits.
/// Killed peers: nothing is left half done; a waiter's death concerns nobody.
/// Memory ordering: what was done before set() happens before what follows a wait() that it ends.
/// Errors: std::invalid_argument for a negative timeout; std::system_error from the constructor if the arena is full.
/// Units: timeouts on the steady clock.
/// Cost: one atomic operation; a system call only to sleep, and to wake if somebody sleeps.
class Event {
 public:
  /// Makes an event that is not set.
  Event();

  /// Sets the flag and lets all go on that wait for it, also if it is cleared before they get to run.
  void set();
  void clear();
  /// Waits until the flag is set.
  void wait() { static_cast<void>(wait_before(detail::Deadline::never())); }
  /// As wait(), but gives up after `timeout`: false.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) {
    return wait_before(detail::Deadline::after(timeout));
  }

  [[nodiscard]] bool is_set() const;
  /// For people, for example "<Event(set)>".
  [[nodiscard]] std::string to_string() const;

  /// Whether both refer to one event.
  friend bool operator==(const Event& a, const Event& b) noexcept { return a.object_ == b.object_; }

 private:
  friend struct detail::HandleAccess;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::Event;
  explicit Event(detail::SharedObjectPtr object) : object_(std::move(object)) {}
  const detail::SharedObjectPtr& shared_object() const { return object_; }
  bool wait_before(const detail::Deadline& deadline);

  detail::SharedObjectPtr object_;
};

}  // namespace tandem
