/// Does something at a named point: how a test brings about an interleaving that chance seldom gives.
#pragma once

#include <unistd.h>

#include <atomic>
#include <functional>
#include <string_view>
#include <utility>

#include "core/kill_point.hpp"

namespace tandem::testing {

/// While it lives, calls `act` with the name of each kill point that this process passes, in the thread that passes it.
/// Forked children are left alone. To be destroyed when no thread can pass one any more. Owner; one at a time.
class AtKillPoints {
 public:
  explicit AtKillPoints(std::function<void(std::string_view name)> act) : act_(std::move(act)) {
    current_.store(this, std::memory_order_release);
    detail::kill_point_hook = [](const char* name) {
      // The library reads the hook without any order.
      const AtKillPoints* const current = current_.load(std::memory_order_acquire);
      if (current != nullptr && ::getpid() == current->pid_) current->act_(name);
    };
  }
  ~AtKillPoints() {
    detail::kill_point_hook = nullptr;
    current_.store(nullptr);
  }
  AtKillPoints(const AtKillPoints&) = delete;
  AtKillPoints& operator=(const AtKillPoints&) = delete;

 private:
  static inline std::atomic<const AtKillPoints*> current_{nullptr};
  const std::function<void(std::string_view name)> act_;
  const pid_t pid_ = ::getpid();
};

}  // namespace tandem::testing
