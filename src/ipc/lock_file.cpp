#include "ipc/lock_file.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <set>

#include "core/check.hpp"
#include "core/mutex.hpp"
#include "core/system.hpp"

namespace tandem::detail {

/// Those of this process. Never destroyed: static objects may hold one until the end.
class LockFiles {
 public:
  static LockFiles& instance() {
    static auto* const made = new LockFiles;
    return *made;
  }

  Mutex mutex;
  std::set<LockFile*> all TANDEM_GUARDED_BY(mutex);

 private:
  LockFiles() {
    const int error = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    TANDEM_CHECK(error == 0, error, 0);
  }
  // Held while the process forks, so that each file that is open is known to the child.
  static void before_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS { instance().mutex.lock(); }
  static void after_fork_in_parent() TANDEM_NO_THREAD_SAFETY_ANALYSIS { instance().mutex.unlock(); }
  static void after_fork_in_child() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    for (LockFile* const file : instance().all) {
      const int fd = file->fd_.exchange(-1, std::memory_order_relaxed);
      if (fd >= 0) ::close(fd);
    }
    instance().mutex.unlock();
  }
};

namespace {

struct flock lock_of(int type, std::int64_t byte) {
  struct flock lock{};
  lock.l_type = static_cast<short>(type);
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

int set_lock(int fd, int command, int type, std::int64_t byte) {
  struct flock lock = lock_of(type, byte);
  return retry_on_signal([&] { return ::fcntl(fd, command, &lock); });
}

bool try_set_lock(int fd, int type, std::int64_t byte) {
  if (set_lock(fd, F_OFD_SETLK, type, byte) == 0) return true;
  if (errno != EAGAIN && errno != EACCES) throw_errno("cannot lock a file");
  return false;
}

}  // namespace

bool is_locked(int fd, std::int64_t byte) noexcept {
  struct flock lock = lock_of(F_WRLCK, byte);
  return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

LockFile::LockFile() {
  LockFiles& files = LockFiles::instance();
  const MutexGuard guard(files.mutex);
  files.all.insert(this);
}

LockFile::~LockFile() {
  close();
  LockFiles& files = LockFiles::instance();
  const MutexGuard guard(files.mutex);
  files.all.erase(this);
}

bool LockFile::open(const std::string& path, int flags) {
  const MutexGuard guard(LockFiles::instance().mutex);
  const int fd = open_file(path, O_RDWR | flags).release();
  if (fd >= 0) fd_.store(fd, std::memory_order_relaxed);
  return fd >= 0;
}

void LockFile::take_over(LockFile& other) {
  const MutexGuard guard(LockFiles::instance().mutex);
  fd_.store(other.fd_.exchange(-1, std::memory_order_relaxed), std::memory_order_relaxed);
}

void LockFile::close() noexcept {
  const MutexGuard guard(LockFiles::instance().mutex);
  const int fd = fd_.exchange(-1, std::memory_order_relaxed);
  if (fd >= 0) ::close(fd);
}

bool LockFile::try_lock(std::int64_t byte) {
  return try_set_lock(fd(), F_WRLCK, byte);
}

bool LockFile::try_lock_shared(std::int64_t byte) {
  return try_set_lock(fd(), F_RDLCK, byte);
}

void LockFile::lock(std::int64_t byte) {
  if (set_lock(fd(), F_OFD_SETLKW, F_WRLCK, byte) != 0) throw_errno("cannot lock a file");
}

void LockFile::unlock(std::int64_t byte) noexcept {
  static_cast<void>(set_lock(fd(), F_OFD_SETLK, F_UNLCK, byte));
}

}  // namespace tandem::detail
