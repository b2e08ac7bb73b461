/// Which tasks were cancelled that have not come to this agent yet.
#pragma once

#include <deque>
#include <set>
#include <string>

namespace tandem::detail {

/// Remembers the last 10,000 of them, by key_of(). Threads: one at a time.
class CancelledTasks {
 public:
  bool contains(const std::string& key) const { return keys_.contains(key); }
  void remember(const std::string& key);

 private:
  std::set<std::string> keys_;
  std::deque<std::string> in_order_;
};

}  // namespace tandem::detail
