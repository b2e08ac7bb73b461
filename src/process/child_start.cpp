#include <unistd.h>

#include <string>
#include <utility>

#include <tandem/start_new_thread.hpp>

#include "core/blocking.hpp"
#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "process/child.hpp"
#include "process/children.hpp"
#include "process/descriptors.hpp"
#include "process/launch.hpp"
#include "process/server_link.hpp"
#include "process/this_process.hpp"

namespace tandem::detail {
namespace {

Launched launch_by(StartMethod method, Launch& launch) {
  switch (method) {
    case StartMethod::Fork:
      return launch_by_fork(launch);
    case StartMethod::Spawn:
      return launch_by_spawn(launch);
    case StartMethod::ForkServer:
      break;
  }
  return launch_by_fork_server(launch);
}

}  // namespace

void Child::start() {
  check_usable();
  ChildSetup setup = begin_start();
  try {
    launch(setup);
  } catch (...) {
    undo_start();
    throw;
  }
}

// Everything that can be wrong with the call is found here, before any side effect.
ChildSetup Child::begin_start() {
  if (!is_initialized()) throw NotInitialized("a process cannot be started yet: call tandem::init() first in main()");
  const MutexGuard guard(mutex_);
  if (stage_ == ChildStage::Closed) check_started("start");
  if (started()) throw StateError("start() called twice on a Process (" + name_ + ")");
  ChildSetup setup;
  setup.method = fork_only_ ? StartMethod::Fork : options_.start_method.value_or(tandem::start_method());
  if (setup.method == StartMethod::Fork) check_threads_before_fork(name_);
  number_ = Children::instance().next_number();
  setup.name = name_;
  setup.daemon = daemon_;
  setup.parent_pid = ::getpid();
  setup.parent_name = this_process_info().name;
  setup.crash_handler = options_.crash_handler;
  setup.wants_stop_token = body_->takes_stop_token();
  setup.default_method = tandem::start_method();
  setup.fork_threads = tandem::fork_thread_policy();
  setup.thread_stack_bytes = tandem::stack_size();
  if (!options_.environment.contains("TANDEM_LOG")) setup.log_level = tandem::log_level();
  stage_ = ChildStage::Starting;
  owner_.store(setup.parent_pid, std::memory_order_relaxed);
  method_ = setup.method;
  return setup;
}

void Child::launch(ChildSetup& setup) {
  const BlockingSection blocking;
  Children& children = Children::instance();
  children.prepare();
  TANDEM_KILL_POINT("process.start.prepared");
  const SharedObjectPtr record = make_plain(sizeof(ChildRecord));
  PipeEnds error;
  if (options_.keep_stderr_tail) error = make_pipe("the standard error of a child process");
  std::unique_ptr<ProcessBody> body;
  {
    const MutexGuard guard(mutex_);
    record_ = record;
    body = std::move(body_);
  }
  // Behind the assignment: a request before it found no record to note it in.
  if (stop_.stop_requested()) ChildRecord::of(*record).stop_requested.store(1, std::memory_order_relaxed);
  // Registered before it exists: its end may be known before its start has been confirmed.
  children.add(shared_from_this());
  try {
    if (error.read) children.watcher().watch_stderr(number_, std::move(error.read));
    TANDEM_KILL_POINT("process.start.ready");
    Launch launch{*this, setup, body, record, options_, children.lifeline_fd(), error.write.get()};
    Launched launched = launch_by(setup.method, launch);
    TANDEM_KILL_POINT("process.start.launched");
    const pid_t pid = launched.pid;
    finish_start(std::move(launched));
    log_line(LogLevel::Debug, "{} (pid {}) is started by {}", setup.name, pid, tandem::to_string(setup.method));
  } catch (...) {
    const MutexGuard guard(mutex_);
    body_ = std::move(body);
    throw;
  }
  TANDEM_KILL_POINT("process.start.done");
}

void Child::finish_start(Launched launched) {
  if (!launched.pidfd) return;  // It has ended, and the watcher knows.
  Watcher& watcher = Children::instance().watcher();
  const MutexGuard guard(mutex_);
  if (stage_ != ChildStage::Starting) return;  // As above.
  try {
    // Under the mutex: end() closes both.
    if (launched.channel) watcher.watch_channel(number_, launched.channel.get());
    // A server reports the ends of its children; when it dies, the watcher looks at all that it finds with a pidfd.
    if (!server_ || server_->gone.load(std::memory_order_acquire)) watcher.watch_end(number_, launched.pidfd.get());
  } catch (...) {
    kill_new_child(launched.pidfd.get());
    throw;
  }
  pid_ = launched.pid;
  pidfd_ = std::move(launched.pidfd);
  parcel_ = std::move(launched.parcel);
  channel_ = std::move(launched.channel);
  stage_ = ChildStage::Running;
}

void Child::undo_start() noexcept {
  Children& children = Children::instance();
  children.remove(number_);
  children.watcher().forget_stderr(number_);
  SharedObjectPtr record;
  const MutexGuard guard(mutex_);
  record = std::move(record_);
  server_.reset();
  method_.reset();
  stage_ = ChildStage::Fresh;
  owner_.store(0, std::memory_order_relaxed);
}

}  // namespace tandem::detail
