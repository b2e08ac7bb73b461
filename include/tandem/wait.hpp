/// Waiting for the first of many things.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include <tandem/connection.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/detail/deadline.hpp>
#include <tandem/detail/handle.hpp>
#include <tandem/event.hpp>
#include <tandem/process.hpp>

namespace tandem {
namespace detail {
class WaitSource;
template <class Q>
concept AnyKindOfQueue = Handle<Q> && requires(const Q& queue) {
  { HandleAccess::core(queue).wait_source() } -> std::convertible_to<std::shared_ptr<WaitSource>>;
};
}  // namespace detail

/// Something that wait() waits for; made of the thing itself where wait() is called. Handle: it keeps a queue or an
/// event alive; a process, a descriptor and a connection must stay as they are meanwhile.
///
/// What is ready: a connection when recv() would not wait, a queue when get() would not wait, both also at their end;
/// an event while it is set; a process once it has ended; a descriptor when it can be read from.
class Waitable {
 public:
  Waitable(const Connection& connection);  // NOLINT(google-explicit-constructor): wait({connection, queue})
  template <detail::AnyKindOfQueue Q>
  Waitable(const Q& queue)  // NOLINT(google-explicit-constructor)
      : source_(detail::HandleAccess::core(queue).wait_source()) {}
  Waitable(const Event& event);  // NOLINT(google-explicit-constructor)
  /// Throws StateError before start().
  Waitable(const Process& process);        // NOLINT(google-explicit-constructor)
  Waitable(const Descriptor& descriptor);  // NOLINT(google-explicit-constructor)
  /// Any descriptor that poll(2) takes: a socket, a pidfd, a timerfd.
  Waitable(int fd);  // NOLINT(google-explicit-constructor)

  /// For the inside of wait().
  [[nodiscard]] detail::WaitSource& source() const noexcept { return *source_; }

 private:
  std::shared_ptr<detail::WaitSource> source_;
};

namespace detail {
std::vector<std::size_t> wait_for_any(std::span<const Waitable> things, const Deadline& deadline);
}  // namespace detail

/// Waits until at least one of the things is ready; gives the places, in order, of all that are.
///
///   const auto ready = tandem::wait({connection, queue, process});
///   if (ready.front() == 1) handle(queue.get());
///
/// It takes nothing: another thread or process may be faster with what was ready. Who waits here takes no wake-up away
/// from those who wait in get().
///
/// Threads: any number may wait at once, for the same things too. Not for signal handlers.
/// Errors: std::invalid_argument if there is nothing to wait for or a descriptor is not open; StateError if a
/// connection is closed in this process; std::system_error.
/// Cost: one system call to look and one to sleep. For descriptors and queues together, a thread that lives as long as
/// the call; for each 128 queues more, another.
inline std::vector<std::size_t> wait(std::span<const Waitable> things) {
  return detail::wait_for_any(things, detail::Deadline::never());
}
inline std::vector<std::size_t> wait(std::initializer_list<Waitable> things) {
  return wait(std::span(things.begin(), things.size()));
}
/// As wait(), but gives up after `timeout`: empty. Throws std::invalid_argument for a negative one. With nothing to
/// wait for, it waits for the time.
template <class Rep, class Period>
[[nodiscard]] std::vector<std::size_t> wait_for(std::span<const Waitable> things,
                                                std::chrono::duration<Rep, Period> timeout) {
  return detail::wait_for_any(things, detail::Deadline::after(timeout));
}
template <class Rep, class Period>
[[nodiscard]] std::vector<std::size_t> wait_for(std::initializer_list<Waitable> things,
                                                std::chrono::duration<Rep, Period> timeout) {
  return wait_for(std::span(things.begin(), things.size()), timeout);
}

}  // namespace tandem
