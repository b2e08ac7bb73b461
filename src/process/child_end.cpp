#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/log.hpp"
#include "core/stack.hpp"
#include "process/child.hpp"

namespace tandem::detail {

/// What is kept of a child's record for crash_report(), out of the arena.
struct Child::Failure {
  pid_t pid = 0;
  std::string exception_type;
  std::string exception_text;
  std::string exception_stack;
  StackTrace crash_stack;
  std::vector<std::string> stderr_tail;
  bool probably_out_of_memory = false;
};

// For when the exit status is somebody else's to take from the kernel: of the parent that a child has once its server
// is dead, or of a wait() for any child elsewhere in this program.
std::optional<ExitStatus> Child::noted_status(const ChildRecord* record, int last_signal) {
  if (record != nullptr) {
    // SYNC(child-note): acquire, so that what was noted before is seen.
    if (record->exit_state.load(std::memory_order_acquire) == NoteState::Complete)
      return ExitStatus::exited(record->exit_code);
    if (record->crash_state.load(std::memory_order_acquire) == NoteState::Complete)
      return ExitStatus::killed(record->crash_signal);
  }
  if (last_signal == SIGKILL) return ExitStatus::killed(SIGKILL);
  return std::nullopt;
}

bool Child::end_is_noted() const {
  const MutexGuard guard(mutex_);
  return noted_status(record_ ? &ChildRecord::of(*record_) : nullptr, last_signal_).has_value();
}

void Child::end(pid_t pid, const std::optional<Ending>& told, std::vector<std::string> stderr_tail,
                bool killed_for_lack_of_memory) {
  SharedObjectPtr record, parcel;  // Let go of without the mutex: that uses the arena.
  int last_signal = 0;
  {
    const MutexGuard guard(mutex_);
    record = std::move(record_);
    parcel = std::move(parcel_);
    last_signal = last_signal_;
    if (pid_ == 0) pid_ = pid;
    pid = pid_;
  }
  const ChildRecord* const notes = record ? &ChildRecord::of(*record) : nullptr;
  // One who left no note was killed, most likely by what this process sent last, or by what leaves nobody time for one.
  const ExitStatus status =
      told ? told->status
           : noted_status(notes, last_signal).value_or(ExitStatus::killed(last_signal != 0 ? last_signal : SIGKILL));
  std::optional<ProcessUsage> used = told ? told->usage : std::nullopt;
  const std::uint64_t own_peak = notes != nullptr ? notes->peak_memory_bytes.load(std::memory_order_relaxed) : 0;
  if (used && own_peak != 0) used->peak_memory_bytes = own_peak;

  std::shared_ptr<Failure> failure;
  if (!status.success()) {
    failure = std::make_shared<Failure>();
    failure->pid = pid;
    failure->stderr_tail = std::move(stderr_tail);
    if (notes != nullptr) {
      if (notes->exception_state.load(std::memory_order_acquire) == NoteState::Complete) {  // SYNC(child-note)
        failure->exception_type = notes->exception_type;
        failure->exception_text = notes->exception_text;
        failure->exception_stack = notes->exception_stack;
      }
      failure->crash_stack = notes->crash_stack;
    }
    failure->probably_out_of_memory = killed_for_lack_of_memory || failure->exception_type == "std::bad_alloc";
  }
  record.reset();
  parcel.reset();
  log_line(LogLevel::Debug, "{} (pid {}) has ended: {}", name(), pid, status.to_string());

  mark_ended(status, used, std::move(failure));
  if (on_end_) on_end_();
}

void Child::mark_ended(const ExitStatus& status, const std::optional<ProcessUsage>& used,
                       std::shared_ptr<Failure> failure) {
  Fd closed_pidfd, closed_channel;
  std::shared_ptr<Server> server;
  {
    const MutexGuard guard(mutex_);
    closed_pidfd = std::move(pidfd_);
    closed_channel = std::move(channel_);
    server = std::move(server_);
    status_ = status;
    usage_ = used;
    failure_ = std::move(failure);
    stage_ = ChildStage::Ended;
    // Closed before anybody is told: who has joined must find nothing left.
    closed_pidfd.reset();
    closed_channel.reset();
    if (sentinel_) {
      const std::uint64_t one = 1;
      retry_on_signal([&, fd = sentinel_.get()] { return ::write(fd, &one, sizeof one); });
    }
  }
  // Without the mutex, which who is woken takes first of all.
  changed_.notify_all();
}

std::optional<CrashReport> Child::crash_report() const {
  check_usable();
  std::shared_ptr<const Failure> failure;
  CrashReport report;
  {
    const MutexGuard guard(mutex_);
    if (stage_ == ChildStage::Closed) check_started("crash_report");
    if (!failure_) return std::nullopt;
    failure = failure_;
    report.name = name_;
    report.signal = status_->signal().value_or(0);
    report.exit_code = status_->exitcode();
    if (usage_) {
      report.peak_memory_bytes = usage_->peak_memory_bytes;
      report.cpu_time = usage_->user_time + usage_->system_time;
    }
  }
  report.pid = failure->pid;
  report.exception_type = failure->exception_type;
  report.exception_text = failure->exception_text;
  // The place of the throw says more than that of the abort() which followed it.
  report.stack = failure->exception_stack.empty() ? text(failure->crash_stack) : failure->exception_stack;
  report.stderr_tail = failure->stderr_tail;
  report.probably_out_of_memory = failure->probably_out_of_memory;
  return report;
}

}  // namespace tandem::detail
