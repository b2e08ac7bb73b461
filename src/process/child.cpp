#include "process/child.hpp"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

#include "core/blocking.hpp"
#include "core/kill_point.hpp"
#include "ipc/futex.hpp"
#include "process/descriptors.hpp"
#include "process/process_tree.hpp"
#include "process/server_link.hpp"
#include "process/this_process.hpp"

namespace tandem::detail {
namespace {

ProcessOptions checked(ProcessOptions options, bool fork_only) {
  if (options.name.find('\0') != std::string::npos)
    throw std::invalid_argument("a process name must not contain a zero character");
  if (options.terminate_grace < std::chrono::milliseconds::zero())
    throw std::invalid_argument("a grace time must not be negative");
  if (options.start_method && tandem::to_string(*options.start_method).empty())
    throw std::invalid_argument("no start method has the number " +
                                std::to_string(static_cast<int>(*options.start_method)));
  if (fork_only && options.start_method && *options.start_method != StartMethod::Fork)
    throw std::invalid_argument("tandem::fork was asked for, but the options say start method " +
                                std::string(tandem::to_string(*options.start_method)));
  for (const auto& [name, value] : options.environment) {
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos)
      throw std::invalid_argument("\"" + name + "\" cannot be the name of an environment variable");
    if (value && value->find('\0') != std::string::npos)
      throw std::invalid_argument("the value of environment variable " + name + " must not contain a zero character");
  }
  return options;
}

void raise_sentinel(int fd) noexcept {
  const std::uint64_t one = 1;
  retry_on_signal([&] { return ::write(fd, &one, sizeof one); });
}

}  // namespace

Child::Child(std::unique_ptr<ProcessBody> body, ProcessOptions options)
    : options_(checked(std::move(options), !body->portable())),
      fork_only_(!body->portable()),
      name_(options_.name.empty() ? next_child_name() : options_.name),
      daemon_(options_.daemon.value_or(this_process_info().daemon)),
      body_(std::move(body)) {}

void Child::check_usable() const {
  const pid_t owner = owner_.load(std::memory_order_relaxed);
  if (owner != 0 && owner != ::getpid())
    throw StateError("this Process was started by process " + std::to_string(owner) +
                     ": only that process can use it, and this one was forked off it");
}

void Child::check_started(const char* member) const {
  if (stage_ == ChildStage::Closed) throw StateError(std::string(member) + "() on a closed Process (" + name_ + ")");
  if (!started()) throw StateError(std::string(member) + "() before start() (" + name_ + ")");
}

bool Child::wait(const Deadline& deadline) {
  check_usable();
  const BlockingSection blocking;
  TANDEM_KILL_POINT("process.join.wait");
  {
    const MutexGuard guard(mutex_);
    check_started("join");
    while (alive()) {
      if (deadline.passed()) return false;
      if (deadline.is_never())
        changed_.wait(mutex_);
      else
        changed_.wait_for(mutex_, deadline.left(std::chrono::hours(1)));
    }
  }
  TANDEM_KILL_POINT("process.join.done");
  return true;
}

bool Child::request_stop() {
  check_usable();
  const bool first = stop_.request_stop();
  SharedObjectPtr record;
  {
    const MutexGuard guard(mutex_);
    record = record_;
  }
  if (first && record) {
    std::atomic<std::uint32_t>& word = ChildRecord::of(*record).stop_requested;
    // SYNC(stop-request): what happened before the request is seen by the body that is told of it.
    word.store(1, std::memory_order_release);
    futex_wake(word, 1);
  }
  return first;
}

void Child::signal(int signum) {
  check_usable();
  const MutexGuard guard(mutex_);
  check_started("signal");
  if (!pidfd_) return;  // Ended.
  last_signal_ = signum;
  const int error = send_signal(pidfd_.get(), signum);
  if (error != 0 && error != ESRCH)
    throw_system_error(error, "cannot send signal " + std::to_string(signum) + " to process " + std::to_string(pid_));
}

void Child::kill_tree() {
  check_usable();
  Fd pidfd;
  pid_t pid = 0;
  {
    const MutexGuard guard(mutex_);
    check_started("kill_tree");
    if (!pidfd_) return;
    last_signal_ = SIGKILL;
    pid = pid_;
    pidfd = duplicate(pidfd_.get(), "a process");
  }
  kill_process_tree(pid, pidfd.get());
}

void Child::close() {
  check_usable();
  Fd sentinel;
  std::unique_ptr<ProcessBody> body;
  const MutexGuard guard(mutex_);
  if (alive()) throw StateError("close() of a Process that is alive (" + name_ + "); join() it first");
  stage_ = ChildStage::Closed;
  sentinel = std::move(sentinel_);
  body = std::move(body_);
}

bool Child::is_alive() const {
  check_usable();
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("is_alive");
  return alive();
}

std::string Child::name() const {
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("name");
  return name_;
}

void Child::set_name(std::string name) {
  if (name.find('\0') != std::string::npos)
    throw std::invalid_argument("a process name must not contain a zero character");
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("set_name");
  name_ = std::move(name);
}

bool Child::daemon() const {
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("daemon");
  return daemon_;
}

void Child::set_daemon(bool daemon) {
  check_usable();
  const MutexGuard guard(mutex_);
  if (started()) throw StateError("set_daemon() of a Process that was started (" + name_ + ")");
  daemon_ = daemon;
}

std::optional<std::uint64_t> Child::id() const {
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("id");
  return started() ? std::optional(number_) : std::nullopt;
}

std::optional<pid_t> Child::pid() const {
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("pid");
  return pid_ != 0 ? std::optional(pid_) : std::nullopt;
}

StartMethod Child::method() const {
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("start_method");
  if (method_) return *method_;
  return fork_only_ ? StartMethod::Fork : options_.start_method.value_or(tandem::start_method());
}

int Child::sentinel() {
  check_usable();
  const MutexGuard guard(mutex_);
  check_started("sentinel");
  if (!sentinel_) {
    Fd made = above_standard(Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
    if (!made) throw_errno("cannot make the sentinel of process " + name_);
    if (stage_ == ChildStage::Ended) raise_sentinel(made.get());
    sentinel_ = std::move(made);
  }
  return sentinel_.get();
}

std::optional<ExitStatus> Child::status() const {
  check_usable();
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("exit_status");
  return status_;
}

std::optional<ProcessUsage> Child::usage() const {
  check_usable();
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("usage");
  return usage_;
}

ProcessInfo Child::info() const {
  const StartMethod how = method();
  const MutexGuard guard(mutex_);
  return {name_, pid_, daemon_, how};
}

std::optional<ProcessInfo> Child::info_if_running() const {
  const MutexGuard guard(mutex_);
  if (stage_ != ChildStage::Running) return std::nullopt;
  return ProcessInfo{name_, pid_, daemon_, method_};
}

std::string Child::to_string() const {
  const MutexGuard guard(mutex_);
  std::string text = "<Process(" + name_;
  if (pid_ != 0) text += ", pid " + std::to_string(pid_);
  const bool foreign = owner_.load(std::memory_order_relaxed) != 0 && owner_.load() != ::getpid();
  switch (stage_) {
    case ChildStage::Fresh:
      text += ", initial";
      break;
    case ChildStage::Starting:
    case ChildStage::Running:
      text += foreign ? ", unknown" : ", started";
      break;
    case ChildStage::Ended:
      text += ", stopped, " + status_->to_string();
      break;
    case ChildStage::Closed:
      text += ", closed";
      break;
  }
  return text + (daemon_ ? " daemon)>" : ")>");
}

void Child::abandon() noexcept {
  if (owner_.load(std::memory_order_relaxed) != ::getpid()) return;  // Never started, or another's.
  bool by_force = false;
  {
    const MutexGuard guard(mutex_);
    if (!alive()) return;
    by_force = daemon_;
  }
  try {
    if (by_force) {
      signal(SIGTERM);
      await_or_kill(Deadline::after(options_.terminate_grace));
    } else {
      request_stop();
      wait(Deadline::never());
    }
  } catch (const std::exception&) {
    // The system refused a signal, as it does for a child that became another user's: it lives until this process ends.
  }
}

void Child::await_or_kill(const Deadline& deadline) noexcept {
  try {
    if (wait(deadline)) return;
    signal(SIGKILL);
    wait(Deadline::never());
  } catch (const std::exception&) {
    // As in abandon().
  }
}

int Child::pidfd() const {
  const MutexGuard guard(mutex_);
  return pidfd_.get();
}

std::shared_ptr<Server> Child::server() const {
  const MutexGuard guard(mutex_);
  return server_;
}

void Child::set_server(std::shared_ptr<Server> server) {
  const MutexGuard guard(mutex_);
  server_ = std::move(server);
}

void Child::drop_parcel() {
  SharedObjectPtr parcel;  // Let go of without the mutex: that uses the arena.
  Fd channel;
  const MutexGuard guard(mutex_);
  parcel = std::move(parcel_);
  channel = std::move(channel_);
}

bool Child::sigkill_is_foreign() const {
  const MutexGuard guard(mutex_);
  return last_signal_ != SIGKILL;
}

void Child::nudge() {
  const MutexGuard guard(mutex_);
  changed_.notify_all();
}

bool Child::wait_for_end_or_loss_of(const Server& server) {
  const MutexGuard guard(mutex_);
  while (alive() && !server.gone.load(std::memory_order_acquire)) changed_.wait(mutex_);
  return !alive();
}

}  // namespace tandem::detail
