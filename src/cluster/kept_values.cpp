#include "cluster/kept_values.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "ipc/family.hpp"

namespace tandem::detail {
namespace {

// How long a value is kept that no handle and no task which is out refers to: one that still waits may.
constexpr std::chrono::seconds kKeepValue{10};

}  // namespace

std::uint64_t KeptValues::note(const SharedObjectPtr& object) {
  Kept& kept = values_[object->id().generation];
  if (kept.object == nullptr) kept = {object, parcel_bytes(*object).second == 0, Clock::now()};
  return object->id().generation;
}

bool KeptValues::are_stored(const std::vector<std::uint64_t>& numbers) const {
  return std::all_of(numbers.begin(), numbers.end(),
                     [&](std::uint64_t number) { return values_.at(number).is_stored; });
}

SharedObjectPtr KeptValues::take_unstored() {
  const auto found =
      std::find_if(values_.begin(), values_.end(), [](const auto& one) { return !one.second.is_stored; });
  if (found == values_.end()) return nullptr;
  found->second.is_stored = true;
  return found->second.object;
}

bool KeptValues::lose(std::uint64_t number) {
  const auto found = values_.find(number);
  return found != values_.end() && std::exchange(found->second.is_stored, false);
}

void KeptValues::use(const std::vector<std::uint64_t>& numbers, Clock::time_point now) {
  for (const std::uint64_t number : numbers) values_.at(number).used_at = now;
}

std::vector<SharedObjectPtr> KeptValues::take_unused(Clock::time_point now) {
  std::vector<SharedObjectPtr> dropped;
  for (auto at = values_.begin(); at != values_.end();) {
    Kept& kept = at->second;
    // The one is this place's: other handles of this process share it.
    if (kept.object.use_count() > 1) kept.used_at = now;
    const bool is_over = now - kept.used_at > kKeepValue;
    if (is_over) dropped.push_back(std::move(kept.object));
    at = is_over ? values_.erase(at) : std::next(at);
  }
  return dropped;
}

}  // namespace tandem::detail
