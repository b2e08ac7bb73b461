/// The tasks that nobody has begun.
#pragma once

#include <cstddef>

#include <tandem/detail/task.hpp>

namespace tandem::detail {

/// A list of tasks through their own links, so that any of them can leave at once. Guarded by the mutex of its core.
class TaskQueue {
 public:
  void push_back(Task& task) noexcept {
    task.previous_ = last_;
    task.next_ = nullptr;
    (last_ != nullptr ? last_->next_ : first_) = &task;
    last_ = &task;
    task.queued_ = true;
    ++size_;
  }
  void push_front(Task& task) noexcept {
    task.previous_ = nullptr;
    task.next_ = first_;
    (first_ != nullptr ? first_->previous_ : last_) = &task;
    first_ = &task;
    task.queued_ = true;
    ++size_;
  }
  /// Null if there is none.
  Task* pop_front() noexcept {
    Task* const task = first_;
    if (task != nullptr) remove(*task);
    return task;
  }
  /// Whether it was there.
  bool remove(Task& task) noexcept {
    if (!task.queued_) return false;
    (task.previous_ != nullptr ? task.previous_->next_ : first_) = task.next_;
    (task.next_ != nullptr ? task.next_->previous_ : last_) = task.previous_;
    task.queued_ = false;
    --size_;
    return true;
  }
  Task* first() const noexcept { return first_; }
  static Task* after(const Task& task) noexcept { return task.next_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return first_ == nullptr; }

 private:
  Task* first_ = nullptr;
  Task* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tandem::detail
