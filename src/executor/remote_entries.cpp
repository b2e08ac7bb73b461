#include "executor/remote_entries.hpp"

#include <unordered_set>

#include "core/mutex.hpp"

namespace tandem::detail {
namespace {

/// Never destroyed: libraries that are loaded late add to it.
struct Entries {
  Mutex mutex;
  std::unordered_set<RemoteEntry> known TANDEM_GUARDED_BY(mutex);
};
Entries& entries() {
  static auto* const made = new Entries;
  return *made;
}

}  // namespace

bool note_remote_entry(RemoteEntry entry) noexcept {
  Entries& all = entries();
  const MutexGuard guard(all.mutex);
  all.known.insert(entry);
  return true;
}

bool is_noted_remote_entry(RemoteEntry entry) {
  Entries& all = entries();
  const MutexGuard guard(all.mutex);
  return all.known.contains(entry);
}

}  // namespace tandem::detail
