/// The children of this process, and what serves them: the watcher, the lifeline, the fork server.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "core/mutex.hpp"
#include "process/child.hpp"
#include "process/descriptors.hpp"
#include "process/lifeline.hpp"
#include "process/server_link.hpp"
#include "process/stderr_relay.hpp"
#include "process/watcher.hpp"

namespace tandem::detail {

/// One for each process; never destroyed, because the watcher uses it until the very end. A forked process gets a new
/// one: the children of its parent are not its own.
///
/// Threads: every member from any. The mutex is held for moments, never while the arena is used.
class Children {
 public:
  static Children& instance();

  /// Starts what a first child needs. Throws std::system_error, and then a later call tries again.
  void prepare();
  /// The reading end of the lifeline.
  int lifeline_fd() const noexcept { return lifeline_.read.get(); }
  Watcher& watcher() noexcept { return watcher_; }

  /// Gives a child its number, which is never used again. Throws StateError when the process has waited for its
  /// children at its end.
  std::uint64_t next_number();
  void add(const ChildPtr& child);
  void remove(std::uint64_t number);
  ChildPtr find(std::uint64_t number) const;
  /// In the order of their start.
  std::vector<ChildPtr> all() const;

  /// The server; starts one if there is none.
  std::shared_ptr<Server> server();
  /// The server if it is this one; for the watcher.
  std::shared_ptr<Server> server(std::uint64_t generation) const;
  /// The server is dead: the next start makes a new one.
  void forget_server(const Server& server);

  /// Two connected sockets, `theirs` for another process that is told of it next. What is forked off this process by
  /// another thread meanwhile closes `theirs`: else this one would not learn of the death of who has it by then.
  SocketPair make_channel(const char* what);
  /// Closes `theirs`, once it has been passed on or nobody wants it.
  void close_theirs(SocketPair& channel) noexcept;

  /// At the end of this process: terminates the daemons, waits for the others, ends the server.
  void end_all() noexcept;

  /// Threads of Tandem's own that a forked child does not miss.
  std::atomic<int> own_threads{0};

 private:
  Children() = default;
  static void before_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS;
  static void after_fork_in_parent() TANDEM_NO_THREAD_SAFETY_ANALYSIS;
  static void after_fork_in_child() TANDEM_NO_THREAD_SAFETY_ANALYSIS;
  /// In a forked child: what this process's parent keeps open for its own children must not stay open here.
  void close_all() TANDEM_NO_THREAD_SAFETY_ANALYSIS;
  void end_server() noexcept;

  // Made by prepare(), before the first child.
  Lifeline lifeline_;
  Watcher watcher_;

  Mutex preparing_;  // Held by prepare(), and while a server is started; before mutex_.
  bool prepared_ TANDEM_GUARDED_BY(preparing_) = false;
  std::uint64_t last_generation_ TANDEM_GUARDED_BY(preparing_) = 0;

  mutable Mutex mutex_;
  std::map<std::uint64_t, ChildPtr> children_ TANDEM_GUARDED_BY(mutex_);
  std::uint64_t last_number_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::shared_ptr<Server> server_ TANDEM_GUARDED_BY(mutex_);
  bool closed_ TANDEM_GUARDED_BY(mutex_) = false;
  std::set<int> passing_ TANDEM_GUARDED_BY(mutex_);  // What make_channel() has made for others, while it is open here.

  Children* inherited_ = nullptr;  // The parent's, in a forked process: so that a leak checker finds it.
};

/// A Children::make_channel() for one scope. Owner.
class ChildChannel {
 public:
  explicit ChildChannel(const char* what) : sockets_(Children::instance().make_channel(what)) {}
  ~ChildChannel() { close_theirs(); }
  ChildChannel(const ChildChannel&) = delete;
  ChildChannel& operator=(const ChildChannel&) = delete;

  Fd& mine() noexcept { return sockets_.mine; }
  int theirs() const noexcept { return sockets_.theirs.get(); }
  void close_theirs() noexcept { Children::instance().close_theirs(sockets_); }

 private:
  SocketPair sockets_;
};

/// Children::instance().end_all(), for on_process_exit().
void end_children();

}  // namespace tandem::detail
