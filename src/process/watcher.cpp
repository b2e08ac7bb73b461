#include "process/watcher.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/check.hpp"
#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "ipc/family.hpp"
#include "ipc/segment.hpp"
#include "process/children.hpp"
#include "process/descriptors.hpp"
#include "thread/native_thread.hpp"

namespace tandem::detail {
namespace {

// For whoever must take the exit status of a child first. Processes that take it look at least this often.
constexpr std::chrono::seconds kPatience{5};

// How many processes the kernel has killed for lack of memory since it was started.
std::uint64_t count_oom_kills() {
  const std::string text = read_small_file("/proc/vmstat");
  const std::size_t at = text.find("\noom_kill ");
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + std::strlen("\noom_kill "), nullptr, 10);
}

void give_back_what_the_dead_held() noexcept {
  try {
    sweep_family();
    Segment::sweep();
  } catch (const std::exception& error) {
    // Whoever waits for it next does it.
    log_line(LogLevel::Error, "cannot give back what an ended process held: {}", error.what());
  }
}

}  // namespace

void Watcher::start() {
  if (!epoll_) {
    Fd made(::epoll_create1(EPOLL_CLOEXEC));
    if (!made) throw_errno("cannot watch child processes");
    epoll_ = above_standard(std::move(made), "the watcher of child processes");
  }
  oom_kills_ = count_oom_kills();
  // The thread inherits the mask: signals are for the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = start_native_thread(0, run, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) throw_system_error(error, "cannot start the thread that watches child processes");
  Children::instance().own_threads.fetch_add(1, std::memory_order_relaxed);
}

void Watcher::add(int fd, std::uint32_t events, Kind kind, std::uint64_t number) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = number << kKindBits | kind;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) throw_errno("cannot watch a child process");
}

void Watcher::watch_stderr(std::uint64_t number, Fd pipe) {
  const auto relay = std::make_shared<StderrRelay>(std::move(pipe));
  {
    const MutexGuard guard(mutex_);
    relays_.emplace(number, relay);
  }
  add(relay->fd(), EPOLLIN, kStderr, number);
}

// Once only: the status of a child whose server has died may not be there to be taken yet.
void Watcher::watch_end(std::uint64_t number, int pidfd) {
  add(pidfd, EPOLLIN | EPOLLONESHOT, kEnd, number);
}
void Watcher::watch_orphan(const ChildPtr& child) noexcept {
  const int pidfd = child->pidfd();
  if (pidfd < 0) return;  // Its start() will find the server gone.
  try {
    watch_end(child->number(), pidfd);
  } catch (const std::system_error& error) {
    if (error.code().value() == EEXIST) return;  // As above.
    // Better an end that is known than a child that nobody watches.
    log_line(LogLevel::Error, "{} is killed: {}", child->name(), error.what());
    send_signal(pidfd, SIGKILL);
    untold_.try_emplace(child->number(), Clock::now() + kPatience);
  }
}
void Watcher::watch_channel(std::uint64_t number, int channel) {
  add(channel, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, kChannel, number);
}
void Watcher::watch_server(std::uint64_t generation, int pidfd, int socket) {
  add(socket, EPOLLIN, kServerReport, generation);
  add(pidfd, EPOLLIN | EPOLLONESHOT, kServerEnd, generation);
}
void Watcher::forget_stderr(std::uint64_t number) {
  drop_relay(number);
}

void Watcher::close_all() {
  epoll_.reset();
  awaited_.reset();
  for (const auto& [number, relay] : relays_) relay->close();
  relays_.clear();
}

std::shared_ptr<StderrRelay> Watcher::relay(std::uint64_t number) {
  const MutexGuard guard(mutex_);
  const auto at = relays_.find(number);
  return at == relays_.end() ? nullptr : at->second;
}

void Watcher::drop_relay(std::uint64_t number) {
  std::shared_ptr<StderrRelay> dropped;
  const MutexGuard guard(mutex_);
  const auto at = relays_.find(number);
  if (at == relays_.end()) return;
  dropped = std::move(at->second);
  relays_.erase(at);
}

void* Watcher::run(void* watcher) {
  ::prctl(PR_SET_NAME, "tandem-watcher");
  static_cast<Watcher*>(watcher)->loop();
  return nullptr;
}

void Watcher::loop() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = retry_on_signal(
        [&] { return ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_limit_ms()); });
    TANDEM_CHECK(count >= 0, count, errno);
    finish_overdue();
    for (int i = 0; i < count; ++i) {
      const std::uint64_t key = events[static_cast<std::size_t>(i)].data.u64;
      handle(static_cast<Kind>(key & ((1u << kKindBits) - 1)), key >> kKindBits);
    }
  }
}

void Watcher::handle(Kind kind, std::uint64_t number) {
  switch (kind) {
    case kEnd:
      if (const ChildPtr child = Children::instance().find(number)) on_end(child);
      break;
    case kChannel:
      if (const ChildPtr child = Children::instance().find(number)) child->drop_parcel();
      break;
    case kStderr:
      on_stderr(number);
      break;
    case kServerReport:
      on_server_report(number);
      break;
    case kServerEnd:
      on_server_end(number);
      break;
    case kStderrOut:
      on_stderr_out();
      break;
  }
}

void Watcher::on_end(const ChildPtr& child) {
  const int pidfd = child->pidfd();
  if (pidfd < 0) return;
  if (const std::optional<Ending> ending = reap(pidfd)) return finish(child, 0, ending);
  finish_by_hearsay(child);
}

// The status of this child is another's to take: of init, once its server is dead. That may be a while from now.
void Watcher::finish_by_hearsay(const ChildPtr& child) {
  const int pidfd = child->pidfd();
  const Hearsay hearsay = ask_about_end(pidfd);
  if (hearsay.later && !child->end_is_noted()) {
    untold_.try_emplace(child->number(), Clock::now() + kPatience);
    epoll_event event{};
    event.events = EPOLLONESHOT;  // EPOLLHUP comes unasked for.
    event.data.u64 = child->number() << kKindBits | kEnd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, pidfd, &event) == 0) return;
  }
  finish(child, 0, hearsay.ending());
}

int Watcher::wait_limit_ms() const {
  if (untold_.empty()) return -1;
  auto first = Clock::time_point::max();
  for (const auto& [number, until] : untold_) first = std::min(first, until);
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - Clock::now());
  return static_cast<int>(std::max(left.count(), std::chrono::milliseconds::rep{0}));
}

void Watcher::finish_overdue() {
  for (auto at = untold_.begin(); at != untold_.end();) {
    const auto [number, until] = *at++;  // finish() takes it out.
    if (until > Clock::now()) continue;
    // Asked once more: this thread may have stood still for as long as its patience.
    if (const ChildPtr child = Children::instance().find(number))
      finish(child, 0, child->pidfd() >= 0 ? ask_about_end(child->pidfd()).ending() : std::nullopt);
  }
}

void Watcher::on_server_report(std::uint64_t generation) {
  const std::shared_ptr<Server> server = Children::instance().server(generation);
  if (!server) return;
  EndReport report;
  std::vector<Fd> none;
  while (receive_message(server->socket.get(), &report, sizeof report, none, MSG_DONTWAIT)) {
    const ChildPtr child = Children::instance().find(report.number);
    if (!child) continue;
    const auto status = report.signal != 0 ? ExitStatus::killed(report.signal) : ExitStatus::exited(report.exit_code);
    finish(child, report.pid, Ending{status, report.usage});
  }
  // It has closed its end: its death, which comes next, is watched by other means.
  char byte = 0;
  if (::recv(server->socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, server->socket.get(), nullptr);
}

void Watcher::on_server_end(std::uint64_t generation) {
  const std::shared_ptr<Server> server = Children::instance().server(generation);
  if (!server) return;
  on_server_report(generation);  // What it said last.
  reap(server->pidfd.get());
  Children::instance().forget_server(*server);
  // SYNC(server-gone): who finds it true has been told every end that the server knew of.
  server->gone.store(true, std::memory_order_release);
  give_back_what_the_dead_held();
  for (const ChildPtr& child : Children::instance().all()) {
    if (child->server() != server) continue;
    child->nudge();
    watch_orphan(child);
  }
}

void Watcher::finish(const ChildPtr& child, pid_t pid, const std::optional<Ending>& told) {
  untold_.erase(child->number());
  const bool killed = told && told->status == ExitStatus::killed(SIGKILL) && child->sigkill_is_foreign();
  std::vector<std::string> tail = drain_stderr(child->number());
  TANDEM_KILL_POINT("process.join.reaped");
  give_back_what_the_dead_held();
  Children::instance().remove(child->number());
  child->end(pid, told, std::move(tail), killed && kernel_killed_for_memory());
}

bool Watcher::kernel_killed_for_memory() {
  const std::uint64_t now = count_oom_kills();
  return now > std::exchange(oom_kills_, now);
}

std::vector<std::string> Watcher::drain_stderr(std::uint64_t number) {
  const std::shared_ptr<StderrRelay> found = relay(number);
  if (!found) return {};
  // Others may have inherited the pipe from the child: then it is passed on for as long as they live.
  if (found->fd() < 0 || !found->pump(out_, /*all=*/true)) drop_relay(number);
  await_stderr();
  return found->tail();
}

void Watcher::on_stderr(std::uint64_t number) {
  const std::shared_ptr<StderrRelay> found = relay(number);
  if (!found || found->fd() < 0) return;
  if (!found->pump(out_, /*all=*/false)) {
    // The child may be about to end: then its last lines are asked for.
    found->close();
    if (!Children::instance().find(number)) drop_relay(number);
  }
  await_stderr();
}

// If this process's standard error takes no more now: goes on when it does, and lets children that write wait
// meanwhile.
void Watcher::await_stderr() {
  if (out_.flush()) return;
  if (!awaited_) {
    awaited_ = Fd(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.u64 = kStderrOut;
    if (!awaited_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, awaited_.get(), &event) != 0) {
      // No descriptors left: better to lose text than to stop watching.
      awaited_.reset();
      out_.discard();
      return;
    }
  }
  if (!out_.full()) return;
  stderr_paused_ = true;
  const MutexGuard guard(mutex_);
  for (const auto& [number, relay] : relays_)
    if (relay->fd() >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, relay->fd(), nullptr);
}

void Watcher::on_stderr_out() {
  if (!out_.flush()) return;
  awaited_.reset();
  if (!std::exchange(stderr_paused_, false)) return;
  const MutexGuard guard(mutex_);
  for (const auto& [number, relay] : relays_) {
    epoll_event again{};
    again.events = EPOLLIN;
    again.data.u64 = number << kKindBits | kStderr;
    // Refused for one that came meanwhile and is watched.
    if (relay->fd() >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, relay->fd(), &again);
  }
}

}  // namespace tandem::detail
