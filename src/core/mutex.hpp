/// std::mutex and its guard with clang's thread-safety annotations, which the standard library does not carry.
/// For data of one process only; shared memory has ipc/shared_lock.hpp.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define TANDEM_ANNOTATION(x) __attribute__((x))
#else
#define TANDEM_ANNOTATION(x)
#endif
#define TANDEM_CAPABILITY(name) TANDEM_ANNOTATION(capability(name))
#define TANDEM_SCOPED_CAPABILITY TANDEM_ANNOTATION(scoped_lockable)
#define TANDEM_GUARDED_BY(mutex) TANDEM_ANNOTATION(guarded_by(mutex))
#define TANDEM_REQUIRES(...) TANDEM_ANNOTATION(requires_capability(__VA_ARGS__))
#define TANDEM_EXCLUDES(...) TANDEM_ANNOTATION(locks_excluded(__VA_ARGS__))
#define TANDEM_ACQUIRE(...) TANDEM_ANNOTATION(acquire_capability(__VA_ARGS__))
#define TANDEM_RELEASE(...) TANDEM_ANNOTATION(release_capability(__VA_ARGS__))
#define TANDEM_NO_THREAD_SAFETY_ANALYSIS TANDEM_ANNOTATION(no_thread_safety_analysis)

namespace tandem::detail {

class TANDEM_CAPABILITY("mutex") Mutex {
 public:
  void lock() TANDEM_ACQUIRE() { mutex_.lock(); }
  void unlock() TANDEM_RELEASE() { mutex_.unlock(); }

 private:
  friend class ConditionVariable;
  std::mutex mutex_;
};

class TANDEM_SCOPED_CAPABILITY MutexGuard {
 public:
  explicit MutexGuard(Mutex& mutex) TANDEM_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexGuard() TANDEM_RELEASE() { mutex_.unlock(); }
  MutexGuard(const MutexGuard&) = delete;
  MutexGuard& operator=(const MutexGuard&) = delete;

 private:
  Mutex& mutex_;
};

/// Waits on a Mutex that the caller holds, by a MutexGuard or a std::unique_lock. (std::condition_variable_any would
/// too, with a second mutex behind it, on which whoever is woken may have to wait once more.)
class ConditionVariable {
 public:
  void wait(Mutex& mutex) {
    Held held(mutex);
    condition_.wait(held.lock);
  }
  template <class Rep, class Period>
  void wait_for(Mutex& mutex, std::chrono::duration<Rep, Period> timeout) {
    Held held(mutex);
    condition_.wait_for(held.lock, timeout);
  }
  void wait(std::unique_lock<Mutex>& lock) { wait(*lock.mutex()); }
  template <class Rep, class Period>
  void wait_for(std::unique_lock<Mutex>& lock, std::chrono::duration<Rep, Period> timeout) {
    wait_for(*lock.mutex(), timeout);
  }
  template <class Clock, class Duration>
  void wait_until(std::unique_lock<Mutex>& lock, std::chrono::time_point<Clock, Duration> at) {
    Held held(*lock.mutex());
    condition_.wait_until(held.lock, at);
  }
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

 private:
  // The mutex as the C++ library knows it, which is held before and behind.
  struct Held {
    explicit Held(Mutex& mutex) : lock(mutex.mutex_, std::adopt_lock) {}
    ~Held() { lock.release(); }
    std::unique_lock<std::mutex> lock;
  };
  std::condition_variable condition_;
};

}  // namespace tandem::detail
