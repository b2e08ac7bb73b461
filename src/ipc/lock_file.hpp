/// Locks on the bytes of a file that the kernel lets go of when this process dies: how anyone can ask whether it lives.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace tandem::detail {

/// Whether somebody holds a lock on this byte of an open file. Takes none. False where that cannot be told.
bool is_locked(int fd, std::int64_t byte) noexcept;

/// An open file, for locking alone. Owner, of locks that belong to the open file description (F_OFD_SETLK). Not
/// movable.
///
/// Threads and processes: two of these exclude each other also within one process. Nothing else may share the
/// description, or the lock would outlive its owner: a forked process closes its copy before fork() returns in it, an
/// executed one has none, and the file is never mapped through it.
/// Killed peers: the kernel takes the locks of a dead process away.
class LockFile {
 public:
  LockFile();
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  /// Opens the file for reading and writing; `flags` are added to O_CLOEXEC. False with errno if that is refused.
  [[nodiscard]] bool open(const std::string& path, int flags);
  /// Takes over what `other` has open, with its locks. This one must be closed.
  void take_over(LockFile& other);
  /// Closes it, if it is open: all locks are gone.
  void close() noexcept;

  /// -1 if it is closed; and in a process that was forked since it was opened.
  [[nodiscard]] int fd() const noexcept { return fd_.load(std::memory_order_relaxed); }

  /// Locks one byte, which need not exist, for this one alone. False if another has it. Throws std::system_error.
  [[nodiscard]] bool try_lock(std::int64_t byte);
  /// Locks it together with others that do the same. False if another has it alone.
  [[nodiscard]] bool try_lock_shared(std::int64_t byte);
  /// As try_lock(), but waits.
  void lock(std::int64_t byte);
  void unlock(std::int64_t byte) noexcept;

 private:
  friend class LockFiles;
  std::atomic<int> fd_{-1};
};

}  // namespace tandem::detail
