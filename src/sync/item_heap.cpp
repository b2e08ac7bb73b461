#include "sync/item_heap.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/kill_point.hpp"

namespace tandem::detail {
namespace {

// Places are numbered from 1, and those below place i are 2i and 2i + 1. They lie in segments: the first holds the
// places below 64, and each further one the places of one level of the heap, as many as all before it together. So the
// heap grows without copying what is there while everybody waits.
constexpr std::uint64_t kFirstSegmentPlaces = 64;

std::uint64_t segment_of(std::uint64_t place) {
  return static_cast<std::uint64_t>(std::bit_width(place / kFirstSegmentPlaces));
}
std::uint64_t first_place_of(std::uint64_t segment) {
  return segment == 0 ? 0 : kFirstSegmentPlaces << (segment - 1);
}
std::uint64_t places_in(std::uint64_t segment) {
  return std::max(kFirstSegmentPlaces, first_place_of(segment));
}

constinit thread_local bool is_comparing = false;

/// Marks that the user's code is comparing; see refuse_while_comparing().
class Comparing {
 public:
  Comparing() { is_comparing = true; }
  Comparing(const Comparing&) = delete;
  Comparing& operator=(const Comparing&) = delete;
  ~Comparing() { is_comparing = false; }
};

}  // namespace

void refuse_while_comparing() {
  if (is_comparing) [[unlikely]]
    throw UsedWhileComparing();
}

Word& ItemHeap::node_in(std::uint64_t place) const {
  const std::uint64_t segment = segment_of(place);
  return (&Arena::instance().at<Word>(get(state_.segments[segment])))[place - first_place_of(segment)];
}

// --- memory

void ItemHeap::free_moving() {
  Arena& arena = Arena::instance();
  if (get(state_.moving_cargo) != 0) {
    ArenaChange change(arena);
    arena.at<Cargo>(get(state_.moving_cargo)).drop_references(change);
    change.set(state_.moving_cargo, 0);
    change.commit();
  }
  if (get(state_.moving) != 0) arena.free(state_.moving);
}

void ItemHeap::ensure_place() {
  const std::uint64_t segment = segment_of(get(state_.places) + 1);
  if (get(state_.segments[segment]) != 0) return;
  Arena& arena = Arena::instance();
  free_moving();
  arena.allocate(state_.moving, places_in(segment) * sizeof(Word));
  TANDEM_KILL_POINT("queue.heap.allocated");
  ArenaChange change(arena);
  change.set(state_.segments[segment], get(state_.moving));
  change.set(state_.moving, 0);
  change.commit();
}

void ItemHeap::release_spare_places() {
  // One segment is kept beyond the one in use, so that a heap whose size goes up and down between two does not free and
  // allocate with each item. Places become fewer one by one, so only the one behind that can be there.
  const std::uint64_t segment = segment_of(get(state_.places) + 1) + 2;
  if (segment >= PriorityState::kSegments || get(state_.segments[segment]) == 0) return;
  Arena& arena = Arena::instance();
  free_moving();
  {
    ArenaChange change(arena);
    change.set(state_.moving, get(state_.segments[segment]));
    change.set(state_.segments[segment], 0);
    change.commit();
  }
  TANDEM_KILL_POINT("queue.heap.released");
  free_moving();
}

void ItemHeap::release_all_places() {
  free_moving();
  for (Word& segment : state_.segments)
    if (get(segment) != 0) Arena::instance().free(segment);
}

// --- comparing

std::uint64_t ItemHeap::wins_of(std::uint64_t node, Rivals rivals) const {
  std::uint64_t wins = 0;
  {
    const Comparing comparing;
    wins = count_wins_(node_at(node).view(), rivals);
  }
  TANDEM_KILL_POINT("queue.compared");
  return wins;
}

Rival ItemHeap::rival_in(std::uint64_t place, std::uint64_t number) const {
  const Node& rival = node_at(get(node_in(place)));
  return {rival.view(), rival.number() < number};
}

bool ItemHeap::comes_before(std::uint64_t place, std::uint64_t other) const {
  const std::uint64_t node = get(node_in(place));
  bool asked = false;
  return wins_of(node, [&]() -> std::optional<Rival> {
           if (std::exchange(asked, true)) return std::nullopt;
           return rival_in(other, node_at(node).number());
         }) == 1;
}

std::uint64_t ItemHeap::find_place(std::uint64_t node) const {
  // From the end up, past each one that it comes before.
  const std::uint64_t end = last_place();
  if (end == 1) return 1;
  std::uint64_t at = end;
  const std::uint64_t wins = wins_of(node, [&]() -> std::optional<Rival> {
    if (at == 1) return std::nullopt;
    at /= 2;
    return rival_in(at, node_at(node).number());
  });
  return end >> wins;
}

std::uint64_t ItemHeap::find_place_of_last() const {
  const std::uint64_t left = count() - 1;
  if (left <= 1) return 1;
  // Down to the bottom along the smaller ones, then up as far as the last one comes before them: it comes from the
  // bottom and mostly belongs there, so this compares half as often as looking for its place on the way down.
  std::uint64_t hole = 1;
  while (2 * hole <= left) {
    const std::uint64_t below = 2 * hole;
    hole = below < left && comes_before(below + 1, below) ? below + 1 : below;
  }
  const std::uint64_t number = node_at(last()).number();
  std::uint64_t at = hole;
  const std::uint64_t wins = wins_of(last(), [&]() -> std::optional<Rival> {
    if (at == 1) return std::nullopt;
    const Rival rival = rival_in(at, number);
    at /= 2;
    return rival;
  });
  return hole >> wins;
}

// --- changing

void ItemHeap::insert(Transaction& change, std::uint64_t node, std::uint64_t place) {
  std::uint64_t at = last_place();
  for (; at != place; at /= 2) change.set(node_in(at), get(node_in(at / 2)));
  change.set(node_in(place), node);
  change.set(state_.queue.ready_count, count() + 1);
}

std::uint64_t ItemHeap::take_over_pending(ThreadSlot& thread) {
  free_moving();
  ArenaChange change(Arena::instance());
  change.set(state_.moving, get(thread.pending));
  change.set(state_.moving_cargo, get(thread.pending_cargo));
  change.set(thread.pending, 0);
  change.set(thread.pending_cargo, 0);
  change.commit();
  return get(state_.moving);
}

void ItemHeap::moved(Transaction& change) {
  change.set(state_.moving, 0);
  change.set(state_.moving_cargo, 0);
}

std::uint64_t ItemHeap::remove_first(Transaction& change, std::uint64_t place_of_last) {
  const std::uint64_t first = get(node_in(1));
  const std::uint64_t node = last();
  for (int levels = std::bit_width(place_of_last) - 2; levels >= 0; --levels) {
    const std::uint64_t at = place_of_last >> levels;
    change.set(node_in(at / 2), get(node_in(at)));
  }
  change.set(node_in(place_of_last), node);
  change.set(state_.queue.ready_count, count() - 1);
  return first;
}

std::uint64_t ItemHeap::remove_last(Transaction& change) {
  const std::uint64_t node = last();
  change.set(state_.queue.ready_count, count() - 1);
  return node;
}

}  // namespace tandem::detail
