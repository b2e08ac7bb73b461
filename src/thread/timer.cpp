#include <tandem/timer.hpp>

#include <atomic>
#include <climits>

#include "core/blocking.hpp"
#include "ipc/futex.hpp"

namespace tandem::detail {
namespace {

class TimerBody final : public ThreadBody {
 public:
  TimerBody(Deadline::Clock::duration delay, std::unique_ptr<ThreadBody> body)
      : delay_(delay), body_(std::move(body)) {}

  void run(std::stop_token stop) override {
    if (wait(stop)) body_->run(std::move(stop));
  }
  const void* function() const noexcept override { return body_->function(); }
  const std::type_info& type() const noexcept override { return body_->type(); }

 private:
  // False if it was cancelled meanwhile.
  bool wait(const std::stop_token& stop) const {
    std::atomic<std::uint32_t> cancelled{0};
    const std::stop_callback wake(stop, [&cancelled] {
      cancelled.store(1, std::memory_order_relaxed);
      futex_wake(cancelled, INT_MAX);
    });
    const Deadline deadline = Deadline::after(delay_);
    BlockingSection blocking;
    while (cancelled.load(std::memory_order_relaxed) == 0)
      if (!futex_wait(cancelled, 0, deadline)) break;
    return !stop.stop_requested();
  }

  const Deadline::Clock::duration delay_;
  const std::unique_ptr<ThreadBody> body_;
};

}  // namespace

std::unique_ptr<ThreadBody> make_timer_body(Deadline::Clock::duration delay, std::unique_ptr<ThreadBody> body) {
  return std::make_unique<TimerBody>(delay, std::move(body));
}

}  // namespace tandem::detail
