#include "ipc/shared_lock.hpp"

#include <cerrno>
#include <chrono>
#include <ctime>

#include "core/check.hpp"
#include "core/kill_point.hpp"
#include "core/thread_sanitizer.hpp"
#include "ipc/futex.hpp"

namespace tandem::detail {
namespace {

// A kill stops a thread between two instructions, as a signal does. So what must be in memory first needs the order of
// a signal fence, which keeps the compiler from moving stores; the processor's own order does not matter, for
// everything that a dead thread has stored is visible to whoever learns of its death from the kernel.
void order_for_kill() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

// The thread sanitizer sees one process. Memory that a thread frees here may be used and handed back by another
// process, under locks that order it all; but to the sanitizer the two threads here that lock different locks have
// nothing to do with each other. So it is told that a transaction comes behind all that ended before it.
void order_begin(std::byte* base) {
  comes_back(base);
}
void order_end(std::byte* base) {
  passes_on(base);
}

/// Who holds it is through in less time than a sleep takes, unless it is off its core.
///
/// Never pthread_mutex_lock(): if the one that an owner wakes is killed on its way, and the mutex is another's again by
/// then, neither the kernel nor that owner knows that more are asleep. So all look again, as all sleepers here do.
int lock_mutex(pthread_mutex_t& mutex) {
  int error = EBUSY;
  if (spin_briefly([&] { return (error = pthread_mutex_trylock(&mutex)) != EBUSY; })) return error;
  do {
    timespec until{};
    TANDEM_CHECK(::clock_gettime(CLOCK_MONOTONIC, &until) == 0, errno, 0);
    constexpr long kSecond = 1'000'000'000;
    until.tv_nsec += std::chrono::nanoseconds(kLongestSleep).count();
    until.tv_sec += until.tv_nsec / kSecond;
    until.tv_nsec %= kSecond;
    error = pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until);
  } while (error == ETIMEDOUT);
  return error;
}

void put(Word& word, std::uint64_t value) {
  word.store(value, std::memory_order_relaxed);
}

}  // namespace

void (*recover_inner_lock)(SharedLock& recovering, std::byte* base) = nullptr;

void SharedLock::initialise() {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  const int error = pthread_mutex_init(&mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
  TANDEM_CHECK(error == 0, error, 0);
  put(change_count, 0);
}

Transaction::Transaction(SharedLock& lock, std::byte* base) : lock_(lock), base_(base) {
  const int error = lock_mutex(lock_.mutex);
  order_begin(base_);
  if (error == EOWNERDEAD) {
    // Killed here again, the next one starts over: the log stays until it is played back in full.
    if (recover_inner_lock != nullptr) recover_inner_lock(lock_, base_);
    TANDEM_KILL_POINT("lock.recover");
    undo();
    pthread_mutex_consistent(&lock_.mutex);
    recovered_ = true;
  } else {
    TANDEM_CHECK(error == 0, error, 0);
  }
  TANDEM_KILL_POINT("lock.locked");
}

Transaction::~Transaction() {
  undo();
  TANDEM_KILL_POINT("lock.unlock");
  order_end(base_);
  const int error = pthread_mutex_unlock(&lock_.mutex);
  TANDEM_CHECK(error == 0, error, 0);
}

void Transaction::set(Word& word, std::uint64_t value) {
  const std::uint64_t n = get(lock_.change_count);
  TANDEM_CHECK(n < SharedLock::kMaxChanges, n, value);
  lock_.changes[n] = {static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(&word) - base_), get(word)};
  order_for_kill();
  put(lock_.change_count, n + 1);
  order_for_kill();
  TANDEM_KILL_POINT("lock.logged");
  put(word, value);
  order_for_kill();
  TANDEM_KILL_POINT("lock.stored");
}

void Transaction::commit() noexcept {
  order_for_kill();
  put(lock_.change_count, 0);
  order_for_kill();
  TANDEM_KILL_POINT("lock.committed");
}

void Transaction::undo() noexcept {
  for (std::uint64_t n = get(lock_.change_count); n > 0; --n) {
    const SharedLock::Change& change = lock_.changes[n - 1];
    put(*reinterpret_cast<Word*>(base_ + change.offset), change.old_value);
    order_for_kill();
  }
  put(lock_.change_count, 0);
  order_for_kill();
}

}  // namespace tandem::detail
