#include <tandem/detail/completions.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>

#include "core/blocking.hpp"
#include "core/mutex.hpp"
#include "ipc/futex.hpp"

namespace tandem::detail {

struct Completions::Inside {
  struct Watched {
    StatePtr<FutureState> state;
    Continuation* continuation;
  };
  /// Outlives the Completions if it is about to run while they are destroyed.
  struct Told final : Continuation {
    Told(std::shared_ptr<Inside> whom, std::size_t at) : inside(std::move(whom)), place(at) {}
    void run(FutureState&) noexcept override { inside->tell(place); }
    const std::shared_ptr<Inside> inside;
    const std::size_t place;
  };

  void tell(std::size_t place) {
    bool wake = false;
    {
      MutexGuard guard(mutex);
      ready.push_back(place);
      wake = point.announce();
    }
    count.fetch_add(1, std::memory_order_release);
    if (wake) point.wake_one();
  }

  std::unordered_map<std::size_t, Watched> watched;  // Of the one thread that waits.
  std::atomic<std::uint64_t> count{0};               // How many were told of; for looking before sleeping.
  std::uint64_t taken = 0;
  Mutex mutex;
  std::deque<std::size_t> ready TANDEM_GUARDED_BY(mutex);
  WaitPoint point{};
};

Completions::Completions() : inside_(std::make_shared<Inside>()) {}

Completions::~Completions() {
  if (inside_ == nullptr) return;
  for (const auto& [place, watched] : inside_->watched) watched.state->remove(watched.continuation);
}

void Completions::watch(FutureState& state, std::size_t place) {
  auto told = std::make_unique<Inside::Told>(inside_, place);
  inside_->watched.emplace(place, Inside::Watched{StatePtr(&state), told.get()});
  state.add(std::move(told));
}

std::optional<std::size_t> Completions::next(const Deadline& deadline) {
  Inside& inside = *inside_;
  const auto told = [&] { return inside.count.load(std::memory_order_acquire) > inside.taken; };
  if (!told() && deadline.is_never()) {
    for (const auto& [place, watched] : inside.watched)
      if (watched.state->run_here()) break;
  }
  if (!told()) {
    BlockingSection blocking;
    static_cast<void>(spin_briefly(told));
  }
  for (;;) {
    WaitPoint::Ticket ticket = 0;
    {
      MutexGuard guard(inside.mutex);
      if (!inside.ready.empty()) {
        const std::size_t place = inside.ready.front();
        inside.ready.pop_front();
        ++inside.taken;
        inside.watched.erase(place);
        return place;
      }
      ticket = inside.point.prepare();
    }
    if (deadline.passed()) return std::nullopt;
    BlockingSection blocking;
    inside.point.sleep(ticket, deadline);
  }
}

}  // namespace tandem::detail
