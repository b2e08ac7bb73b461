#include "ipc/family.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <new>
#include <string>

#include "core/check.hpp"
#include "core/kill_point.hpp"
#include "core/system.hpp"
#include "core/thread_sanitizer.hpp"
#include "ipc/futex.hpp"
#include "ipc/members.hpp"
#include "ipc/owner.hpp"

namespace tandem::detail {

constinit thread_local std::uint64_t this_owner_cache = 0;

namespace {

// Offsets of this process's and this thread's slots; 0 while there is none.
std::atomic<std::uint64_t> process_slot{0};
thread_local std::uint64_t thread_slot = 0;
// The slot made for the child by the handler before fork(), for the ones behind it; slot 0 if there is none.
thread_local Member forking;
pthread_key_t thread_key;

// When a process was started, in the kernel's ticks since the system was; 0 if it does not tell.
std::uint64_t start_time_of(pid_t pid) {
  const std::string text = read_small_file("/proc/" + std::to_string(pid) + "/stat");
  // The name, in parentheses, may hold spaces; behind it, the start time is the 20th field.
  std::size_t at = text.rfind(')');
  for (int field = 0; at != std::string::npos && field < 20; ++field) at = text.find(' ', at + 1);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + 1, nullptr, 10);
}

// The present instant on the same scale: a hundred times cheaper than to read one's own start.
std::uint64_t time_now() {
  static const auto ticks_each_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  timespec now{};
  if (::clock_gettime(CLOCK_BOOTTIME, &now) != 0) return 0;
  return static_cast<std::uint64_t>(now.tv_sec) * ticks_each_second +
         static_cast<std::uint64_t>(now.tv_nsec) / (1'000'000'000 / ticks_each_second);
}

void initialise_liveness(Slot& slot) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  const int error = pthread_mutex_init(&slot.liveness, &attributes);
  pthread_mutexattr_destroy(&attributes);
  TANDEM_CHECK(error == 0, error, 0);
}

// Whether the thread that took the slot's mutex for life is gone. Needs the arena's lock, because a slot's mutex is
// made anew for its next user.
bool owner_is_gone(Slot& slot) {
  const int error = LivenessMutex::try_lock(slot.liveness);
  if (error == EBUSY) return false;
  // A slot in use whose mutex can be had has lost its owner, now or before. (Left inconsistent, the mutex would look
  // owned from the second try on: glibc's trylock forgets to unlock one that is not recoverable.)
  if (error == EOWNERDEAD) pthread_mutex_consistent(&slot.liveness);
  LivenessMutex::unlock(slot.liveness);
  return true;
}

// A process whose first thread is gone may have others: only the kernel knows when the last one has stopped.
bool process_is_gone(pid_t pid, std::uint64_t known_at) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    // EINVAL: the number is a thread's of another process now.
    if (errno == ESRCH || errno == EINVAL || errno == ENOENT) return true;
    // No descriptor to be had: a child of this process can be asked for without one. Others are gone once whoever
    // started them has taken their status.
    siginfo_t ended{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == pid;
  }
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  if (retry_on_signal([&] { return ::poll(&ended, 1, 0); }) > 0) return true;
  // One that was started after this one had been seen alive is another that was given its number.
  return known_at != 0 && start_time_of(pid) > known_at;
}

bool slot_is_dead(ArenaChange& change, ProcessSlot& slot) {
  switch (get(slot.state)) {
    case kSlotFree:
      return false;
    case kSlotForking:
      // The child takes the slot over in its first instructions; until then it is known by the pid that the parent
      // noted, or not at all (plain fork()), and then is given up with its parent.
      if (get(slot.pid) != 0) return process_is_gone(static_cast<pid_t>(get(slot.pid)), get(slot.known_at));
      return process_is_dead(change, {get(slot.forker), get(slot.forker_generation)});
    default:
      return owner_is_gone(slot) && process_is_gone(static_cast<pid_t>(get(slot.pid)), get(slot.known_at));
  }
}

// A free slot of the table, with its mutex made and a new generation; not committed.
template <class S>
S& take_slot(Arena& arena, ArenaChange& change, Word& table) {
  std::uint64_t offset = get(table);
  while (offset != 0 && get(arena.at<S>(offset).state) != kSlotFree) offset = get(arena.at<S>(offset).next);
  if (offset == 0) {
    static_cast<void>(arena.heap().allocate(change, sizeof(S), arena.header().scratch, Heap::Use::Table));
    offset = get(arena.header().scratch);
    change.set(arena.header().scratch, 0);
    S* slot = new (arena.base() + offset) S{};
    slot->next = get(table);
    change.set(table, offset);
  }
  S& slot = arena.at<S>(offset);
  initialise_liveness(slot);
  change.set(slot.generation, get(arena.header().next_generation));
  change.set(arena.header().next_generation, get(arena.header().next_generation) + 1);
  return slot;
}

std::uint64_t offset_of(const Arena& arena, const Slot& slot) {
  return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&slot) - arena.base());
}

void hold_liveness(Slot& slot) {
  // It is free: others only try it, under the arena's lock, which the caller holds.
  const int error = LivenessMutex::try_lock(slot.liveness);
  TANDEM_CHECK(error == 0, error, 0);
}

void leave_thread(void*) {
  if (thread_slot == 0) return;
  Arena& arena = Arena::instance();
  ThreadSlot& slot = arena.at<ThreadSlot>(thread_slot);
  thread_slot = 0;
  this_owner_cache = 0;
  ArenaChange change(arena);
  LivenessMutex::unlock(slot.liveness);
  change.set(slot.state, kSlotFree);
  change.commit();
}

// A free slot for a process, under a serial of its own.
ProcessSlot& take_process_slot(Arena& arena, ArenaChange& change) {
  ProcessSlot& slot = take_slot<ProcessSlot>(arena, change, arena.header().process_slots);
  const std::uint64_t serial = get(arena.header().next_serial) + 1;
  change.set(slot.serial, serial);
  change.set(arena.header().next_serial, serial);
  return slot;
}

void fill_live(ArenaChange& change, ProcessSlot& slot) {
  change.set(slot.pid, static_cast<std::uint64_t>(getpid()));
  change.set(slot.known_at, time_now());
  change.set(slot.state, kSlotLive);
}

// --- fork
// -------------------------------------------------------------------------------------------------------------

Member make_slot_for_child() {
  Arena& arena = Arena::instance();
  ArenaChange change(arena);
  ProcessSlot& child = take_process_slot(arena, change);
  const Member parent = this_process();
  change.set(child.pid, 0);
  change.set(child.known_at, 0);
  change.set(child.forker, parent.slot);
  change.set(child.forker_generation, parent.generation);
  change.set(child.state, kSlotForking);
  change.commit();
  for (std::uint64_t hold = get(this_process_slot().holds); hold != 0; hold = get(arena.at<Hold>(hold).next)) {
    add_hold(change, child, get(arena.at<Hold>(hold).object));
    change.commit();
  }
  return {offset_of(arena, child), get(child.generation)};
}

void before_fork() {
  Arena::hold_making();
  if (!Arena::exists()) return;
  lock_registry();
  forking = {};
  try {
    forking = make_slot_for_child();
  } catch (const std::exception& error) {
    // Nothing can be thrown through fork(). The child will find that it has no slot and leave.
    std::fprintf(stderr, "tandem: a forked child cannot share anything and will end: %s\n", error.what());
  }
}

void after_fork_in_parent() {
  if (Arena::exists()) unlock_registry();
  Arena::release_making();
}

void after_fork_in_child() {
  Arena::release_making();
  if (!Arena::exists()) return;
  if (forking.slot == 0) _exit(127);
  TANDEM_KILL_POINT("family.forked");
  Arena& arena = Arena::instance();
  thread_slot = 0;
  this_owner_cache = 0;
  ProcessSlot& slot = arena.at<ProcessSlot>(forking.slot);
  process_slot.store(forking.slot, std::memory_order_relaxed);
  const std::uint64_t generation = forking.generation;
  forking = {};
  {
    ArenaChange change(arena);
    // Given up already, and perhaps another child's by now: the parent died so early that nobody waited for this
    // process any more. Its handles are void.
    if (get(slot.generation) != generation || get(slot.state) != kSlotForking) _exit(127);
    hold_liveness(slot);
    fill_live(change, slot);
    change.commit();
  }
  adopt_holds_in_child();
  unlock_registry();
}

// Before main(), so that the handlers of all that stands on this run before them: they take their locks first, as in
// use.
[[maybe_unused]] const bool fork_is_handled = [] {
  const int error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  TANDEM_CHECK(error == 0, error, 0);
  return true;
}();

}  // namespace

void join_family(Arena& arena) {
  const int error = pthread_key_create(&thread_key, leave_thread);
  TANDEM_CHECK(error == 0, error, 0);
  ArenaChange change(arena);
  ProcessSlot& slot = take_process_slot(arena, change);
  change.set(slot.holds, 0);
  hold_liveness(slot);
  fill_live(change, slot);
  change.commit();
  process_slot.store(offset_of(arena, slot), std::memory_order_relaxed);
}

pid_t fork_member() {
  forking = {};
  const pid_t pid = ::fork();
  if (pid == 0 || forking.slot == 0) return pid;
  const int error = errno;
  Arena& arena = Arena::instance();
  ProcessSlot& slot = arena.at<ProcessSlot>(forking.slot);
  {
    ArenaChange change(arena);
    // Otherwise the child has taken the slot over, and may even be gone already and the slot another's.
    if (get(slot.generation) == forking.generation && get(slot.state) == kSlotForking) {
      // A pid that cannot exist makes the sweep give the slot up, if there is no child.
      change.set(slot.pid, pid > 0 ? static_cast<std::uint64_t>(pid) : (std::uint64_t{1} << 30));
      // The child's status has not been taken, so that the number is still its own at this time.
      change.set(slot.known_at, pid > 0 ? time_now() : 0);
      change.commit();
    }
  }
  if (pid < 0) sweep_family();
  errno = error;
  return pid;
}

ProcessSlot& this_process_slot() {
  Arena& arena = Arena::instance();
  return arena.at<ProcessSlot>(process_slot.load(std::memory_order_relaxed));
}

Member this_process() {
  ProcessSlot& slot = this_process_slot();
  return {process_slot.load(std::memory_order_relaxed), get(slot.generation)};
}

namespace {

// The calling thread's name, new.
std::uint64_t new_owner() {
  static std::atomic<std::uint64_t> threads{0};
  constexpr std::uint64_t kLargest = (std::uint64_t{1} << Owner::kNumberBits) - 1;
  // From 1 on; the numbers are used again after more than 200 million threads of one process.
  const std::uint64_t number = threads.fetch_add(1, std::memory_order_relaxed) % kLargest + 1;
  const std::uint64_t serial = get(this_process_slot().serial);
  TANDEM_CHECK(serial < Owner::kNobody >> (Owner::kNumberBits + Owner::kFlagBits), serial, number);
  return (serial << (Owner::kNumberBits + Owner::kFlagBits)) | (number << Owner::kFlagBits);
}

}  // namespace

ThreadSlot& this_thread_slot() {
  Arena& arena = Arena::instance();
  if (thread_slot == 0) {
    ArenaChange change(arena);
    ThreadSlot& slot = take_slot<ThreadSlot>(arena, change, arena.header().thread_slots);
    change.set(slot.pending, 0);
    change.set(slot.pending_cargo, 0);
    change.set(slot.guard, 0);
    const std::uint64_t owner = new_owner();
    change.set(slot.owner, owner);
    change.set(slot.tid, static_cast<std::uint64_t>(::syscall(SYS_gettid)));
    hold_liveness(slot);
    change.set(slot.state, kSlotLive);
    change.commit();
    thread_slot = offset_of(arena, slot);
    this_owner_cache = owner;
    // A key's destructor, not a thread_local's: that of the main thread would run at exit() before static objects
    // that still use queues.
    pthread_setspecific(thread_key, &slot);
  }
  return arena.at<ThreadSlot>(thread_slot);
}

bool this_thread_has_slot() noexcept {
  return thread_slot != 0;
}

Member this_thread() {
  ThreadSlot& slot = this_thread_slot();
  return {thread_slot, get(slot.generation)};
}

bool thread_is_dead(ArenaChange&, const Member& thread) {
  ThreadSlot& slot = Arena::instance().at<ThreadSlot>(thread.slot);
  return get(slot.generation) != thread.generation || get(slot.state) == kSlotFree || owner_is_gone(slot);
}

bool process_is_dead(ArenaChange& change, const Member& process) {
  ProcessSlot& slot = Arena::instance().at<ProcessSlot>(process.slot);
  return get(slot.generation) != process.generation || get(slot.state) == kSlotFree || slot_is_dead(change, slot);
}

namespace {

ProcessSlot* slot_of_serial(ArenaChange&, std::uint64_t serial) {
  Arena& arena = Arena::instance();
  for (std::uint64_t offset = get(arena.header().process_slots); offset != 0;) {
    ProcessSlot& slot = arena.at<ProcessSlot>(offset);
    offset = get(slot.next);
    if (get(slot.serial) == serial && get(slot.state) != kSlotFree) return &slot;
  }
  return nullptr;
}

ThreadSlot* slot_of_owner(ArenaChange&, std::uint64_t owner) {
  Arena& arena = Arena::instance();
  for (std::uint64_t offset = get(arena.header().thread_slots); offset != 0;) {
    ThreadSlot& slot = arena.at<ThreadSlot>(offset);
    offset = get(slot.next);
    if (get(slot.owner) == owner && get(slot.state) != kSlotFree) return &slot;
  }
  return nullptr;
}

}  // namespace

std::uint64_t Owner::find_out() {
  static_assert(kNumberBits + kFlagBits < 32, "the thread is in the half of the word that one can sleep on");
  static_cast<void>(this_thread_slot());
  return this_owner_cache;
}

Owner::Life Owner::life() const {
  ArenaChange change(Arena::instance());
  ProcessSlot* const process = slot_of_serial(change, serial());
  if (process == nullptr || slot_is_dead(change, *process)) return Life::Dead;
  ThreadSlot* const thread = slot_of_owner(change, word_);
  return thread == nullptr || owner_is_gone(*thread) ? Life::ThreadEnded : Life::Alive;
}

bool Owner::process_is_dead() const {
  ArenaChange change(Arena::instance());
  ProcessSlot* const process = slot_of_serial(change, serial());
  return process == nullptr || slot_is_dead(change, *process);
}

Owner::Numbers Owner::numbers() const {
  ArenaChange change(Arena::instance());
  const ProcessSlot* const process = slot_of_serial(change, serial());
  const ThreadSlot* const thread = slot_of_owner(change, word_);
  return {process == nullptr ? 0 : static_cast<pid_t>(get(process->pid)),
          thread == nullptr ? 0 : static_cast<pid_t>(get(thread->tid))};
}

namespace {

// Whether the thread had not given its block away.
bool owns_pending(const ThreadSlot& slot) {
  return get(slot.guard) == 0 || get(Arena::instance().at<Word>(get(slot.guard))) == get(slot.guard_value);
}

void sweep_threads(ArenaChange& change) {
  Arena& arena = Arena::instance();
  for (std::uint64_t offset = get(arena.header().thread_slots); offset != 0;) {
    ThreadSlot& slot = arena.at<ThreadSlot>(offset);
    offset = get(slot.next);
    if (get(slot.state) == kSlotFree || !owner_is_gone(slot)) continue;
    const bool owns = owns_pending(slot);
    if (owns && get(slot.pending_cargo) != 0) {
      arena.at<Cargo>(get(slot.pending_cargo)).drop_references(change);
      change.set(slot.pending_cargo, 0);
      change.commit();
    }
    if (owns && get(slot.pending) != 0) arena.heap().free(change, slot.pending);
    change.set(slot.state, kSlotFree);
    change.set(arena.header().deaths, get(arena.header().deaths) + 1);
    change.commit();
  }
}

}  // namespace

void sweep_family() {
  if (!Arena::exists()) return;
  Arena& arena = Arena::instance();
  {
    ArenaChange change(arena);
    sweep_threads(change);
    for (std::uint64_t offset = get(arena.header().process_slots); offset != 0;) {
      ProcessSlot& slot = arena.at<ProcessSlot>(offset);
      offset = get(slot.next);
      if (get(slot.state) == kSlotFree || !slot_is_dead(change, slot)) continue;
      // It may have died this instant. What its threads left half done refers to what it holds.
      sweep_threads(change);
      while (get(slot.holds) != 0) {
        release_hold(change, slot, get(slot.holds));
        change.commit();
        TANDEM_KILL_POINT("family.sweep");
      }
      change.set(slot.state, kSlotFree);
      change.set(arena.header().deaths, get(arena.header().deaths) + 1);
      change.commit();
    }
  }
  bury_zombies();
}

void sweep_family_if_due() {
  if (!Arena::exists()) return;
  if (!Arena::instance().header().sweep.due()) return;
  try {
    sweep_family();
  } catch (const std::exception&) {
    // No memory for this thread's slot, which burying needs. Who waits is not to hear of that: the next one does it.
  }
}

}  // namespace tandem::detail
