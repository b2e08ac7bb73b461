#include <tandem/broadcast.hpp>

#include <algorithm>
#include <list>

#include "core/mutex.hpp"
#include "ipc/family.hpp"

namespace tandem::detail {
namespace {

// Of values that no handle of this process refers to any more, most of the time: what its tasks used last.
constexpr std::size_t kMostRemembered = 16;

struct Remembered {
  ObjectId id{};
  const std::type_info* type = nullptr;
  std::shared_ptr<const void> value;
};

/// What this process has decoded. Only names of objects, no holds on them: they would keep objects that everybody else
/// has dropped. No two objects of a family share a name. Never destroyed, since handles may be used at any time.
struct Memory {
  Mutex mutex;
  std::list<Remembered> latest_first TANDEM_GUARDED_BY(mutex);
};
Memory& memory() {
  static auto* const made = new Memory;
  return *made;
}

bool is_gone(ObjectId id) {
  try {
    static_cast<void>(attach(id, ObjectKind::Broadcast));
    return false;
  } catch (const std::exception&) {
    return true;
  }
}

std::shared_ptr<const void> remembered(ObjectId id, const std::type_info& type) {
  Memory& all = memory();
  const MutexGuard guard(all.mutex);
  const auto found = std::find_if(all.latest_first.begin(), all.latest_first.end(),
                                  [&](const Remembered& one) { return one.id == id && *one.type == type; });
  if (found == all.latest_first.end()) return nullptr;
  all.latest_first.splice(all.latest_first.begin(), all.latest_first, found);
  return found->value;
}

void remember(Remembered one) {
  std::list<Remembered> dropped;  // Their values may take their time to go: behind the mutex.
  Memory& all = memory();
  const MutexGuard guard(all.mutex);
  for (auto at = all.latest_first.begin(); at != all.latest_first.end();) {
    const auto next = std::next(at);
    if (is_gone(at->id)) dropped.splice(dropped.end(), all.latest_first, at);
    at = next;
  }
  all.latest_first.push_front(std::move(one));
  if (all.latest_first.size() > kMostRemembered)
    dropped.splice(dropped.end(), all.latest_first, std::prev(all.latest_first.end()));
}

}  // namespace

const void* BroadcastState::value() {
  const std::lock_guard guard(mutex_);
  if (value_ != nullptr) return value_.get();
  value_ = remembered(object_->id(), type_.type);
  if (value_ != nullptr) return value_.get();
  const auto [bytes, size] = parcel_bytes(*object_);
  Decoder decoder(bytes, size);
  // What came from another machine has no references, and what it may still claim to refer to is none of its business.
  static const StandIns none;
  if (parcel_references(*object_).empty()) decoder.stand_in(none);
  value_ = type_.decode(decoder);
  remember({object_->id(), &type_.type, value_});
  return value_.get();
}

const SharedObjectPtr& BroadcastState::object() {
  const std::lock_guard guard(mutex_);
  if (object_ != nullptr) return object_;
  Encoder encoder;
  type_.encode(encoder, value_.get());
  object_ = make_parcel(encoder.bytes().data(), encoder.bytes().size(), encoder.objects(), ObjectKind::Broadcast);
  return object_;
}

}  // namespace tandem::detail
