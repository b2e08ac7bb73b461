/// Lets a lock that the current thread runs under (a Gil) be released around everything in Tandem that waits.
#pragma once

namespace tandem::detail {

/// What to call around a wait. Both members are called by the thread that waits, outside any of Tandem's locks.
class BlockingHooks {
 public:
  virtual void before_wait() = 0;
  virtual void after_wait() = 0;

 protected:
  ~BlockingHooks() = default;
};

/// The hooks of the calling thread; null when it runs under no such lock.
BlockingHooks*& blocking_hooks() noexcept;

/// Marks a scope in which the calling thread may sleep. Every wait in Tandem stands in one.
class BlockingSection {
 public:
  BlockingSection() : hooks_(blocking_hooks()) {
    if (hooks_ != nullptr) hooks_->before_wait();
  }
  ~BlockingSection() {
    if (hooks_ != nullptr) hooks_->after_wait();
  }
  BlockingSection(const BlockingSection&) = delete;
  BlockingSection& operator=(const BlockingSection&) = delete;

 private:
  BlockingHooks* const hooks_;
};

}  // namespace tandem::detail
