#include "ipc/arena.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string_view>

#include <tandem/arena.hpp>

#include "core/check.hpp"
#include "core/kill_point.hpp"
#include "core/system.hpp"
#include "ipc/family.hpp"

namespace tandem::detail {
namespace {

constexpr std::uint64_t kMagic = 0x316d65646e6174;  // "tandem1"
constexpr std::uint64_t kReservedBytes = std::uint64_t{1} << 40;
// What a limit on address space (RLIMIT_AS) makes us fall back to, at the least.
constexpr std::uint64_t kSmallestReservation = std::uint64_t{1} << 30;
constexpr std::uint64_t kSmallestLimit = std::uint64_t{1} << 20;

std::atomic<Arena*> the_arena{nullptr};
std::mutex& creation_mutex() {
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}

std::uint64_t limit_from_environment_or_memory() {
  if (const char* text = std::getenv("TANDEM_ARENA_LIMIT")) {
    std::uint64_t limit = 0;
    const std::string_view view = text;
    const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), limit);
    if (error != std::errc{} || end != view.data() + view.size() || limit < kSmallestLimit)
      throw std::invalid_argument(
          fmt::format("TANDEM_ARENA_LIMIT is \"{}\": it must be a number of bytes, at least {}", view, kSmallestLimit));
    return limit;
  }
  const auto pages = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES));
  return pages / 5 * 4 * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

void* map(int memory_fd, std::uint64_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory_fd, 0);
  // Nobody wants other processes' data, sparse as it may be, in a core file.
  if (base != MAP_FAILED) madvise(base, bytes, MADV_DONTDUMP);
  return base;
}

std::pair<int, std::byte*> make_memory() {
  const std::uint64_t limit = limit_from_environment_or_memory();
  Fd memory = above_standard(Fd(memfd_create("tandem-arena", MFD_CLOEXEC)));
  if (!memory) throw_errno("cannot create the arena's memory file");
  std::uint64_t reserved = kReservedBytes;
  void* base = map(memory.get(), reserved);
  while (base == MAP_FAILED && reserved > kSmallestReservation) {
    reserved /= 2;
    base = map(memory.get(), reserved);
  }
  if (base == MAP_FAILED) throw_errno(fmt::format("cannot map the arena ({} GiB reserved)", reserved >> 30));
  if (ftruncate(memory.get(), static_cast<off_t>(reserved)) != 0)
    throw_errno(fmt::format("cannot size the arena ({} GiB reserved)", reserved >> 30));
  const std::uint64_t begin = (sizeof(ArenaHeader) + 4095) / 4096 * 4096;
  if (retry_on_signal([&] { return ::fallocate(memory.get(), 0, 0, static_cast<off_t>(begin)); }) != 0)
    throw_errno("cannot get memory for the arena's header");
  auto& header = *static_cast<ArenaHeader*>(base);
  header.magic = kMagic;
  header.reserved_bytes = reserved;
  header.lock.initialise();
  header.reaper.initialise();
  header.heap.begin = begin;
  header.heap.end = begin;
  header.limit_bytes = limit;
  header.next_generation = 1;
  return {memory.release(), static_cast<std::byte*>(base)};
}

// A transaction of the arena may have changed words that the lock being recovered guards, and died with it.
// Not through Arena::instance(): a process that joins the family may be the one that finds the lock's owner dead.
void recover_arena_first(SharedLock& recovering, std::byte* base) {
  auto& header = *reinterpret_cast<ArenaHeader*>(base);
  if (&recovering != &header.lock) Transaction undo_what_is_left(header.lock, base);
}

}  // namespace

Arena::Arena(int memory_fd, std::byte* base)
    : memory_fd_(memory_fd),
      base_(base),
      heap_(base, header().heap, memory_fd, header().limit_bytes, header().reserved_bytes) {}

bool Arena::exists() noexcept {
  return the_arena.load(std::memory_order_acquire) != nullptr;
}

Arena& Arena::instance() {
  // SYNC(arena): the release below makes the mapped header, and that this process has joined the family, visible to who
  // finds the pointer here.
  if (Arena* arena = the_arena.load(std::memory_order_acquire)) return *arena;
  const std::scoped_lock lock(creation_mutex());
  if (Arena* arena = the_arena.load(std::memory_order_acquire)) return *arena;
  const auto [memory_fd, base] = make_memory();
  auto* arena = new Arena(memory_fd, base);  // Lives as long as the process: handles may be used at exit.
  recover_inner_lock = recover_arena_first;
  join_family(*arena);
  the_arena.store(arena, std::memory_order_release);
  return *arena;
}

void Arena::adopt(int memory_fd) {
  const std::scoped_lock lock(creation_mutex());
  if (exists())
    throw std::logic_error("tandem::init() must come before the first use of a shared object, also in static objects");
  struct stat status{};
  if (fstat(memory_fd, &status) != 0) throw_errno(fmt::format("cannot look at the arena (descriptor {})", memory_fd));
  const auto reserved = static_cast<std::uint64_t>(status.st_size);
  void* base = map(memory_fd, reserved);
  if (base == MAP_FAILED) throw_errno(fmt::format("cannot map the arena ({} GiB reserved)", reserved >> 30));
  const auto& header = *static_cast<const ArenaHeader*>(base);
  TANDEM_CHECK(header.magic == kMagic && header.reserved_bytes == reserved, header.magic, header.reserved_bytes);
  fcntl(memory_fd, F_SETFD, FD_CLOEXEC);
  auto* arena = new Arena(memory_fd, static_cast<std::byte*>(base));
  recover_inner_lock = recover_arena_first;
  join_family(*arena);
  the_arena.store(arena, std::memory_order_release);
}

void Arena::hold_making() {
  creation_mutex().lock();
}
void Arena::release_making() {
  creation_mutex().unlock();
}

bool Arena::contains(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  const std::uint64_t begin = get(header().heap.begin);
  const std::uint64_t end = get(header().heap.end);
  return offset % 16 == 0 && offset >= begin && offset < end && bytes <= end - offset;
}

void Arena::allocate(Word& owner, std::uint64_t bytes) {
  bool cold = false;
  {
    ArenaChange change(*this);
    cold = heap_.allocate(change, bytes, owner);
    change.commit();
  }
  TANDEM_KILL_POINT("arena.allocated");
  if (!cold) return;
  try {
    heap_.back(get(owner));
  } catch (...) {
    free(owner);
    throw;
  }
  ArenaChange change(*this);
  heap_.mark(change, get(owner), /*cold=*/false);
  change.commit();
}

void Arena::free(Word& owner) {
  {
    ArenaChange change(*this);
    if (!heap_.worth_releasing(get(owner))) {
      heap_.free(change, owner);
      change.commit();
      return;
    }
    // Marked first: killed behind this, the block's next owner must know that pages may be missing.
    heap_.mark(change, get(owner), /*cold=*/true);
    change.commit();
  }
  heap_.release_pages(get(owner));  // Without the lock: the block is still the caller's.
  TANDEM_KILL_POINT("arena.released");
  ArenaChange change(*this);
  heap_.free(change, owner);
  change.commit();
}

int arena_descriptor() {
  return Arena::instance().descriptor();
}
void adopt_arena(int memory_fd) {
  Arena::adopt(memory_fd);
}

}  // namespace tandem::detail

namespace tandem {

ArenaUsage arena_usage() {
  detail::Arena& arena = detail::Arena::instance();
  detail::sweep_family();
  struct stat status{};
  if (fstat(arena.descriptor(), &status) != 0) detail::throw_errno("cannot look at the arena's memory");
  return {.in_use_bytes = detail::get(arena.header().heap.in_use_bytes),
          .resident_bytes = static_cast<std::size_t>(status.st_blocks) * 512,
          .limit_bytes = detail::get(arena.header().limit_bytes)};
}

void set_arena_limit(std::size_t limit_bytes) {
  if (limit_bytes < detail::kSmallestLimit)
    throw std::invalid_argument(
        fmt::format("the arena's limit must be at least {} bytes, not {}", detail::kSmallestLimit, limit_bytes));
  detail::Arena& arena = detail::Arena::instance();
  detail::ArenaChange change(arena);
  change.set(arena.header().limit_bytes, limit_bytes);
  change.commit();
}

}  // namespace tandem
