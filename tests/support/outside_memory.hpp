/// Memory that a test shares with the processes it forks, and that Tandem does not know of: where what happened is
/// noted when those who note it are killed.
#pragma once

#include <sys/mman.h>

#include <new>

namespace tandem::testing {

/// A T of zeros in such memory; pages that are not touched cost nothing. Owner.
template <class T>
class OutsideMemory {
 public:
  OutsideMemory() {
    void* const memory =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    value_ = static_cast<T*>(memory);  // Zeroed by the kernel, which is what its atomics begin with.
  }
  ~OutsideMemory() { ::munmap(value_, sizeof(T)); }
  OutsideMemory(const OutsideMemory&) = delete;
  OutsideMemory& operator=(const OutsideMemory&) = delete;

  T* operator->() const noexcept { return value_; }
  T* get() const noexcept { return value_; }

 private:
  T* value_;
};

}  // namespace tandem::testing
