#include "process/children.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <utility>

#include "core/check.hpp"
#include "core/kill_point.hpp"
#include "ipc/arena.hpp"
#include "process/descriptors.hpp"
#include "process/executed_child.hpp"
#include "process/this_process.hpp"

namespace tandem::detail {
namespace {

constexpr int kFarewellMilliseconds = 200;

// SYNC(children): set once by who makes the first one, and by a forked child while it has one thread.
std::atomic<Children*> children_of_this_process{nullptr};

}  // namespace

Children& Children::instance() {
  static const bool made = [] {
    // First, so that at fork() this part's lock is taken before the arena's.
    arena_descriptor();
    children_of_this_process.store(new Children, std::memory_order_release);
    const int error = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    TANDEM_CHECK(error == 0, error, 0);
    return true;
  }();
  static_cast<void>(made);
  return *children_of_this_process.load(std::memory_order_acquire);
}

void Children::before_fork() {
  Children& all = instance();
  all.mutex_.lock();
  all.watcher_.lock_for_fork();
}

void Children::after_fork_in_parent() {
  Children& all = instance();
  all.watcher_.unlock_after_fork();
  all.mutex_.unlock();
}

void Children::after_fork_in_child() {
  auto* const anew = new Children;
  anew->inherited_ = children_of_this_process.load(std::memory_order_relaxed);
  anew->inherited_->close_all();
  children_of_this_process.store(anew, std::memory_order_release);
  restart_child_names();
}

void Children::close_all() {
  lifeline_.read.reset();
  lifeline_.write.reset();
  watcher_.close_all();
  if (server_) {
    server_->socket.reset();
    server_->pidfd.reset();
  }
  for (const auto& [number, child] : children_) child->close_in_forked_process();
  for (const int theirs : passing_) ::close(theirs);
}

void Children::prepare() {
  const MutexGuard guard(preparing_);
  if (prepared_) return;
  watcher_.start();
  // Under the mutex that a fork takes: a process forked meanwhile closes the writing end, or does not have it.
  const MutexGuard against_fork(mutex_);
  lifeline_ = Lifeline::make();
  prepared_ = true;
}

SocketPair Children::make_channel(const char* what) {
  const MutexGuard guard(mutex_);
  SocketPair channel = make_socket_pair(what);
  passing_.insert(channel.theirs.get());
  return channel;
}

void Children::close_theirs(SocketPair& channel) noexcept {
  if (!channel.theirs) return;
  const MutexGuard guard(mutex_);
  passing_.erase(channel.theirs.get());
  channel.theirs.reset();
}

std::uint64_t Children::next_number() {
  const MutexGuard guard(mutex_);
  if (closed_) throw StateError("this process is ending: it has waited for its child processes");
  return ++last_number_;
}

void Children::add(const ChildPtr& child) {
  const MutexGuard guard(mutex_);
  children_.emplace(child->number(), child);
}

void Children::remove(std::uint64_t number) {
  ChildPtr child;  // Let go of without the mutex.
  const MutexGuard guard(mutex_);
  const auto at = children_.find(number);
  if (at == children_.end()) return;
  child = std::move(at->second);
  children_.erase(at);
}

ChildPtr Children::find(std::uint64_t number) const {
  const MutexGuard guard(mutex_);
  const auto at = children_.find(number);
  return at == children_.end() ? nullptr : at->second;
}

std::vector<ChildPtr> Children::all() const {
  std::vector<ChildPtr> found;
  const MutexGuard guard(mutex_);
  for (const auto& [number, child] : children_) found.push_back(child);
  return found;
}

std::shared_ptr<Server> Children::server() {
  const MutexGuard starting(preparing_);
  {
    const MutexGuard guard(mutex_);
    if (server_) return server_;
  }
  ChildChannel channel("the fork server");
  Execution execution;
  execution.as = ExecutedAs::Server;
  execution.lifeline_fd = lifeline_.read.get();
  execution.socket_fd = channel.theirs();
  execution.environment = environment_with({});
  auto made = std::make_shared<Server>();
  made->generation = ++last_generation_;
  TANDEM_KILL_POINT("process.start.server");
  made->pid = execute_this_program(execution);
  made->pidfd = open_new_child(made->pid);
  made->socket = std::move(channel.mine());
  {
    const MutexGuard guard(mutex_);
    server_ = made;
  }
  try {
    watcher_.watch_server(made->generation, made->pidfd.get(), made->socket.get());
  } catch (...) {
    forget_server(*made);
    kill_new_child(made->pidfd.get());
    throw;
  }
  return made;
}

std::shared_ptr<Server> Children::server(std::uint64_t generation) const {
  const MutexGuard guard(mutex_);
  return server_ && server_->generation == generation ? server_ : nullptr;
}

void Children::forget_server(const Server& server) {
  std::shared_ptr<Server> forgotten;
  const MutexGuard guard(mutex_);
  if (server_.get() == &server) forgotten = std::move(server_);
}

void Children::end_all() noexcept {
  for (;;) {
    const std::vector<ChildPtr> children = all();
    if (children.empty()) break;
    std::chrono::milliseconds grace{0};
    for (const ChildPtr& child : children) {
      if (!child->daemon()) continue;
      grace = std::max(grace, child->terminate_grace());
      try {
        child->signal(SIGTERM);
      } catch (const std::exception&) {
        // It ended meanwhile, or will be killed below.
      }
    }
    const Deadline deadline = Deadline::after(grace);
    for (const ChildPtr& child : children)
      if (child->daemon()) child->await_or_kill(deadline);
    for (const ChildPtr& child : children)
      if (!child->daemon()) child->await_or_kill(Deadline::never());
    // Another thread may have started one meanwhile.
  }
  {
    const MutexGuard guard(mutex_);
    closed_ = true;
  }
  end_server();
}

void Children::end_server() noexcept {
  std::shared_ptr<Server> server;
  {
    const MutexGuard guard(mutex_);
    server = server_;
  }
  if (!server) return;
  // So that it takes its spare child along. It has nothing else to do, so if it does not go at once it is stuck.
  const StartRequest farewell{StartRequest::kFarewell, {}, 0, 0};
  pollfd end{server->pidfd.get(), POLLIN, 0};
  if (send_message(server->socket.get(), &farewell, sizeof farewell, {}, MSG_DONTWAIT) == 0)
    retry_on_signal([&] { return ::poll(&end, 1, kFarewellMilliseconds); });
  kill_new_child(server->pidfd.get());
}

void end_children() {
  if (Children* const children = children_of_this_process.load(std::memory_order_acquire)) children->end_all();
}

}  // namespace tandem::detail
