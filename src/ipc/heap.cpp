#include "ipc/heap.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <string>
#include <string_view>

#include "core/check.hpp"
#include "core/system.hpp"

namespace tandem::detail {
namespace {

constexpr std::uint64_t kFree = 1;
constexpr std::uint64_t kCold = 2;     // Pages may be missing (never got, or given back).
constexpr std::uint64_t kCounted = 4;  // Part of in_use_bytes while allocated.
constexpr std::uint64_t kFlags = 15;

constexpr std::uint64_t kHeaderBytes = sizeof(BlockHeader);
constexpr std::uint64_t kSmallestBlock = kHeaderBytes + 16;  // A free block holds its two list links.
constexpr std::uint64_t kPage = 4096;

// New memory is got in steps: a larger one wastes more, a smaller one makes more system calls.
constexpr std::uint64_t kGrowBytes = 1 << 20;
// Above this, pages are got without the lock: at about 1 ms per MiB the others would notice.
constexpr std::uint64_t kGrowColdBytes = 16 << 20;
// What is made of free memory without pages is got in steps of this, as in growing.
constexpr std::uint64_t kWarmBytes = 64 << 10;
// Blocks from this size on are given back to the kernel once the reserve of warm free memory is full.
constexpr std::uint64_t kReleaseBytes = 1 << 20;
constexpr std::uint64_t kWarmReserveBytes = 256 << 20;

// Blocks below 256 bytes have a list for each size; above, 16 lists for each power of two.
constexpr std::uint64_t kLinearBytes = 256;
constexpr int kLooksInOwnList = 16;  // Keeps the time constant.
constexpr int kLinearLog = 8;

struct Level {
  std::size_t first;
  std::size_t second;
};

Level level_of(std::uint64_t size) {
  if (size < kLinearBytes) return {0, size / 16};
  const int log = std::bit_width(size) - 1;
  return {static_cast<std::size_t>(log - kLinearLog + 1), (size >> (log - 4)) & 15};
}

// The smallest size such that every block in its list and above holds `size` bytes.
std::uint64_t round_up_to_list(std::uint64_t size) {
  if (size < kLinearBytes) return size;
  const std::uint64_t step = std::uint64_t{1} << (std::bit_width(size) - 1 - 4);
  return size + step - 1;
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t step) {
  return (value + step - 1) / step * step;
}

std::string in_mib(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

// Bytes that the machine can still give without killing anybody, from /proc/meminfo; a guess of "plenty" without it.
std::uint64_t available_memory() {
  const std::string text = read_small_file("/proc/meminfo");
  constexpr std::string_view kKey = "MemAvailable:";
  const std::size_t at = text.find(kKey);
  if (at == std::string::npos) return ~std::uint64_t{0};
  const std::size_t digits = text.find_first_of("0123456789", at + kKey.size());
  std::uint64_t kib = 0;
  if (digits != std::string::npos) std::from_chars(text.data() + digits, text.data() + text.size(), kib);
  return kib * 1024;
}

}  // namespace

BlockHeader& Heap::header(std::uint64_t block) const {
  TANDEM_CHECK(block >= get(state_.begin) && block < get(state_.end) && block % 16 == 0, block, get(state_.end));
  return *reinterpret_cast<BlockHeader*>(base_ + block);
}
std::uint64_t Heap::size(std::uint64_t block) const {
  return get(header(block).size_and_flags) & ~kFlags;
}
bool Heap::has(std::uint64_t block, std::uint64_t flag) const {
  return (get(header(block).size_and_flags) & flag) != 0;
}
Word& Heap::next_free(std::uint64_t block) const {
  return *reinterpret_cast<Word*>(base_ + block + kHeaderBytes);
}
Word& Heap::previous_free(std::uint64_t block) const {
  return *reinterpret_cast<Word*>(base_ + block + kHeaderBytes + 8);
}

std::uint64_t Heap::capacity(std::uint64_t offset) const {
  return size(offset - kHeaderBytes) - kHeaderBytes;
}

bool Heap::allocate(Transaction& change, std::uint64_t bytes, Word& owner, Use use) {
  if (bytes > reserved_bytes_)
    throw_system_error(ENOMEM,
                       fmt::format("cannot allocate {} in the arena of {}", in_mib(bytes), in_mib(reserved_bytes_)));
  const std::uint64_t wanted = std::max(kSmallestBlock, round_up(bytes + kHeaderBytes, 16));
  std::uint64_t block = find(wanted);
  if (block == 0) block = grow(change, wanted, use);
  remove(change, block);
  if (has(block, kCold) && wanted <= kWarmBytes) warm_front(change, block, use);
  split(change, block, wanted);
  const bool cold = has(block, kCold);
  const std::uint64_t counted = use == Use::Table ? 0 : kCounted;
  change.set(header(block).size_and_flags, size(block) | counted | (cold ? kCold : 0));
  if (counted != 0) change.set(state_.in_use_bytes, get(state_.in_use_bytes) + size(block));
  // Logged, though of no use any more: the caller may write into the block before it commits, and if it is then killed
  // the block goes back into its list by these links.
  change.set(next_free(block), 0);
  change.set(previous_free(block), 0);
  change.set(owner, block + kHeaderBytes);
  return cold;
}

void Heap::free(Transaction& change, Word& owner) {
  std::uint64_t block = get(owner) - kHeaderBytes;
  TANDEM_CHECK(!has(block, kFree), block, get(header(block).size_and_flags));
  std::uint64_t bytes = size(block);
  std::uint64_t cold = get(header(block).size_and_flags) & kCold;
  if (has(block, kCounted)) change.set(state_.in_use_bytes, get(state_.in_use_bytes) - bytes);
  // Two on a side at the most: what warm_front() made warm, and the cold rest behind it.
  for (std::uint64_t following = block + bytes; following < get(state_.end) && has(following, kFree);
       following = block + bytes) {
    remove(change, following);
    cold |= get(header(following).size_and_flags) & kCold;
    if (get(state_.last) == following) change.set(state_.last, block);
    bytes += size(following);
  }
  for (std::uint64_t previous = get(header(block).previous); previous != 0 && has(previous, kFree);
       previous = get(header(block).previous)) {
    remove(change, previous);
    cold |= get(header(previous).size_and_flags) & kCold;
    if (get(state_.last) == block) change.set(state_.last, previous);
    bytes += size(previous);
    block = previous;
  }
  insert(change, block, bytes, cold);
  link_following(change, block, bytes);
  change.set(owner, 0);
}

void Heap::link_following(Transaction& change, std::uint64_t block, std::uint64_t bytes) {
  const std::uint64_t following = block + bytes;
  if (following < get(state_.end)) change.set(header(following).previous, block);
}

void Heap::insert(Transaction& change, std::uint64_t block, std::uint64_t bytes, std::uint64_t flags) {
  const Level level = level_of(bytes);
  Word& head = state_.free_lists[level.first][level.second];
  change.set(header(block).size_and_flags, bytes | flags | kFree);
  change.set(next_free(block), get(head));
  change.set(previous_free(block), 0);
  if (get(head) != 0) change.set(previous_free(get(head)), block);
  change.set(head, block);
  Word& second = state_.second_level[level.first];
  change.set(second, get(second) | std::uint64_t{1} << level.second);
  change.set(state_.first_level, get(state_.first_level) | std::uint64_t{1} << level.first);
}

void Heap::remove(Transaction& change, std::uint64_t block) {
  const Level level = level_of(size(block));
  const std::uint64_t next = get(next_free(block));
  const std::uint64_t previous = get(previous_free(block));
  if (next != 0) change.set(previous_free(next), previous);
  if (previous != 0) {
    change.set(next_free(previous), next);
  } else {
    change.set(state_.free_lists[level.first][level.second], next);
    if (next == 0) {
      Word& second = state_.second_level[level.first];
      change.set(second, get(second) & ~(std::uint64_t{1} << level.second));
      if (get(second) == 0)
        change.set(state_.first_level, get(state_.first_level) & ~(std::uint64_t{1} << level.first));
    }
  }
}

std::uint64_t Heap::find(std::uint64_t wanted) const {
  // Only some blocks of its own list are large enough, but one that was freed for the same size is, and might be the
  // last below the limit.
  const Level own = level_of(wanted);
  std::uint64_t block = get(state_.free_lists[own.first][own.second]);
  for (int looked = 0; block != 0 && looked < kLooksInOwnList; ++looked, block = get(next_free(block)))
    if (size(block) >= wanted) return block;
  const Level level = level_of(round_up_to_list(wanted));
  const std::uint64_t here = get(state_.second_level[level.first]) & (~std::uint64_t{0} << level.second);
  if (here != 0) return get(state_.free_lists[level.first][std::countr_zero(here)]);
  const std::uint64_t above = get(state_.first_level) & (~std::uint64_t{0} << (level.first + 1));
  if (above == 0) return 0;
  const int first = std::countr_zero(above);
  return get(state_.free_lists[first][std::countr_zero(get(state_.second_level[first]))]);
}

std::uint64_t Heap::grow(Transaction& change, std::uint64_t wanted, Use use) {
  const std::uint64_t end = get(state_.end);
  const std::uint64_t last = get(state_.last);
  const bool extend = last != 0 && has(last, kFree);
  const std::uint64_t there = extend ? size(last) : 0;
  // The list that find() looks in holds only blocks of a rounded size, so the last block may even be large enough.
  if (there >= wanted) return last;
  const std::uint64_t more = round_up(std::max(wanted - there, kGrowBytes), kGrowBytes);
  if (more > reserved_bytes_ - end)
    throw_system_error(ENOMEM, fmt::format("cannot allocate {} in the arena: all {} of its addresses are used",
                                           in_mib(wanted), in_mib(reserved_bytes_)));
  const bool cold = more > kGrowColdBytes;
  get_pages(end, cold ? kPage : more, use);
  std::uint64_t flags = cold ? kCold : 0;
  std::uint64_t block = end;
  change.set(state_.end, end + more);
  if (extend) {
    remove(change, last);
    block = last;
    flags |= get(header(last).size_and_flags) & kCold;
  } else {
    change.set(header(end).previous, last);
    change.set(state_.last, end);
  }
  insert(change, block, there + more, flags);
  return block;
}

// Gets pages for the front of a block that is in no list, which becomes a block of its own: callers touch small blocks
// at once, and a page that is missing then comes without a look at the limit, or as a SIGBUS.
void Heap::warm_front(Transaction& change, std::uint64_t block, Use use) {
  const std::uint64_t front = std::min(size(block), round_up(block + kWarmBytes, kPage) - block);
  get_pages(block, front, use);
  split(change, block, front);
  change.set(header(block).size_and_flags, size(block));
}

void Heap::split(Transaction& change, std::uint64_t block, std::uint64_t wanted) {
  const std::uint64_t bytes = size(block);
  if (bytes - wanted < kSmallestBlock) return;
  const std::uint64_t rest = block + wanted;
  const std::uint64_t cold = get(header(block).size_and_flags) & kCold;
  if (cold != 0) get_pages(rest, kSmallestBlock, Use::Record);
  change.set(header(block).size_and_flags, wanted | cold);
  change.set(header(rest).previous, block);
  insert(change, rest, bytes - wanted, cold);
  link_following(change, rest, bytes - wanted);
  if (get(state_.last) == block) change.set(state_.last, rest);
}

bool Heap::worth_releasing(std::uint64_t offset) const {
  const std::uint64_t bytes = size(offset - kHeaderBytes);
  // The kernel knows best what free memory still has its pages; neighbours that were joined may have some.
  return bytes >= kReleaseBytes && resident_bytes() + bytes > get(state_.in_use_bytes) + kWarmReserveBytes;
}

void Heap::mark(Transaction& change, std::uint64_t offset, bool cold) {
  Word& word = header(offset - kHeaderBytes).size_and_flags;
  change.set(word, cold ? get(word) | kCold : get(word) & ~kCold);
}

std::uint64_t Heap::resident_bytes() const {
  struct stat status{};
  if (fstat(memory_fd_, &status) != 0) throw_errno("cannot look at the arena's memory");
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

// Bytes of the range that have no pages; those that were got but never touched count too.
std::uint64_t Heap::missing_bytes(std::uint64_t offset, std::uint64_t bytes) const {
  const auto end = static_cast<off_t>(offset + bytes);
  off_t missing = 0;
  for (auto at = static_cast<off_t>(offset); at < end;) {
    const off_t hole = ::lseek(memory_fd_, at, SEEK_HOLE);
    if (hole < 0 || hole >= end) break;
    at = ::lseek(memory_fd_, hole, SEEK_DATA);
    if (at < 0 || at > end) at = end;  // No data behind the hole.
    missing += at - hole;
  }
  return static_cast<std::uint64_t>(missing);
}

void Heap::check_room(std::uint64_t offset, std::uint64_t bytes) const {
  // The kernel counts what is really there, so pages given back count as free again.
  const std::uint64_t resident = resident_bytes();
  const std::uint64_t limit = get(limit_bytes_);
  const bool within_limit = resident + bytes <= limit;
  const bool little = bytes <= kGrowColdBytes;
  if (within_limit && (little || bytes <= available_memory())) return;
  // A block marked cold may have most of its pages; counting them takes longer, so only when it matters.
  const std::uint64_t missing = missing_bytes(offset, bytes);
  if (missing == 0) return;
  if (resident + missing > limit)
    throw_system_error(ENOMEM, fmt::format("cannot allocate {} in the arena: it holds {} of the {} that are its limit",
                                           in_mib(bytes), in_mib(resident), in_mib(limit)));
  // Asked for more than there is, the kernel would kill somebody instead of saying no.
  if (const std::uint64_t available = available_memory(); missing > available)
    throw_system_error(ENOMEM, fmt::format("cannot allocate {} in the arena: the machine has {} left", in_mib(missing),
                                           in_mib(available)));
}

void Heap::get_pages(std::uint64_t offset, std::uint64_t bytes, Use use) const {
  if (use == Use::Content) check_room(offset, bytes);
  // In steps, because a signal makes the kernel undo the whole of an interrupted call: where signals come more often
  // than a step takes (a profiler's timer), the next step is smaller.
  constexpr std::uint64_t kLargestStep = 64 << 20;
  constexpr std::uint64_t kSmallestStep = 64 << 10;  // About 50 us.
  std::uint64_t step = kLargestStep;
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t part = std::min(step, bytes - done);
    if (::fallocate(memory_fd_, 0, static_cast<off_t>(offset + done), static_cast<off_t>(part)) == 0) {
      done += part;
    } else if (errno == EINTR) {
      step = std::max(part / 4, kSmallestStep);
    } else {
      throw_errno(fmt::format("cannot get {} of memory for the arena", in_mib(bytes)));
    }
  }
}

void Heap::back(std::uint64_t offset) const {
  const std::uint64_t block = offset - kHeaderBytes;
  get_pages(block, size(block), Use::Content);
}

void Heap::release_pages(std::uint64_t offset) const {
  const std::uint64_t block = offset - kHeaderBytes;
  // The first page holds the header and, once free, the links; the last one may hold the next block's header.
  const std::uint64_t from = round_up(block + kSmallestBlock, kPage);
  const std::uint64_t to = (block + size(block)) / kPage * kPage;
  if (from >= to) return;
  const int result = retry_on_signal([&] {
    return ::fallocate(memory_fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
                       static_cast<off_t>(to - from));
  });
  TANDEM_CHECK(result == 0, errno, to - from);
}

}  // namespace tandem::detail
