/// Does something at a named point: how a test brings about an interleaving that chance seldom gives.
#pragma once

#include <unistd.h>

#include <functional>
#include <string_view>
#include <utility>

#include "core/kill_point.hpp"

namespace tandem::testing {

/// While it lives, calls `act` with the name of each kill point that this process passes, in the thread that passes it.
/// Forked children are left alone. To be destroyed when no thread can pass one any more. Owner; one at a time.
class AtKillPoints {
 public:
  explicit AtKillPoints(std::function<void(std::string_view name)> act) {
    act_ = std::move(act);
    pid_ = ::getpid();
    detail::kill_point_hook = [](const char* name) {
      if (::getpid() == pid_) act_(name);
    };
  }
  ~AtKillPoints() { detail::kill_point_hook = nullptr; }
  AtKillPoints(const AtKillPoints&) = delete;
  AtKillPoints& operator=(const AtKillPoints&) = delete;

 private:
  static inline std::function<void(std::string_view name)> act_;
  static inline pid_t pid_ = 0;
};

}  // namespace tandem::testing
