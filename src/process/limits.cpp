#include "process/limits.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/system.hpp"

namespace tandem::detail {
namespace {

// A line "VmHWM:    1234 kB" of /proc/self/status, in bytes.
std::uint64_t status_bytes(const char* name) {
  const std::string text = read_small_file("/proc/self/status");
  const std::size_t at = text.find(name);
  return at == std::string::npos
             ? 0
             : std::strtoull(text.c_str() + at + std::char_traits<char>::length(name), nullptr, 10) * 1024;
}

std::atomic<std::uint64_t> memory_limit{0};

// For the handler.
std::atomic<std::atomic<std::uint32_t>*> cpu_time_note{nullptr};

void on_cpu_time(int) {
  if (auto* const note = cpu_time_note.load(std::memory_order_relaxed)) note->store(1, std::memory_order_relaxed);
  // Not the default action of SIGXCPU, which writes a core file.
  ::kill(::getpid(), SIGKILL);
}

void on_interrupt(int) {
  constexpr char kLine[] = "tandem: interrupted\n";
  static_cast<void>(!::write(STDERR_FILENO, kLine, sizeof kLine - 1));
  // Pending until this returns; then the process ends as one that was interrupted, exit code 130 of the shell.
  ::signal(SIGINT, SIG_DFL);
  ::raise(SIGINT);
}

void set_handler(int signum, void (*handler)(int), int flags) noexcept {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signum, &action, nullptr);
}

}  // namespace

std::uint64_t peak_memory_bytes() {
  return status_bytes("VmHWM:");
}

void reset_peak_memory() noexcept {
  const Fd file(retry_on_signal([] { return ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC); }));
  if (file) retry_on_signal([&] { return ::write(file.get(), "5", 1); });
}

std::uint64_t private_memory_bytes() noexcept {
  const Fd file(retry_on_signal([] { return ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC); }));
  char text[128];
  const ssize_t size = file ? retry_on_signal([&] { return ::read(file.get(), text, sizeof text - 1); }) : -1;
  if (size <= 0) return 0;
  text[size] = '\0';
  unsigned long long total = 0, resident = 0, shared = 0;
  if (std::sscanf(text, "%llu %llu %llu", &total, &resident, &shared) != 3 || shared > resident) return 0;
  return (resident - shared) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t memory_limit_bytes() noexcept {
  return memory_limit.load(std::memory_order_relaxed);
}

MemoryLimit::MemoryLimit(std::uint64_t bytes) {
  // What earlier work has freed would else not be counted when it is used again.
  ::malloc_trim(0);
  struct rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  limit_before_ = limit.rlim_cur;
  const std::uint64_t now = status_bytes("VmData:");
  // RLIM_INFINITY is the largest number: a sum that no number holds is no limit, as one above that of the process is.
  if (now < limit_before_ && bytes < limit_before_ - now) limit.rlim_cur = now + bytes;
  if (limit.rlim_max != RLIM_INFINITY && limit.rlim_cur > limit.rlim_max) limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_DATA, &limit) != 0) throw_errno("cannot limit the memory of a task");
  memory_limit.store(bytes, std::memory_order_relaxed);
}

MemoryLimit::~MemoryLimit() {
  memory_limit.store(0, std::memory_order_relaxed);
  struct rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  limit.rlim_cur = limit_before_;
  ::setrlimit(RLIMIT_DATA, &limit);
}

CpuTimeLimit::CpuTimeLimit(std::chrono::nanoseconds time, std::atomic<std::uint32_t>& note) {
  cpu_time_note.store(&note, std::memory_order_relaxed);
  set_handler(SIGXCPU, on_cpu_time, 0);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGXCPU;
  timer_t timer{};
  if (::timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) != 0) throw_errno("cannot limit the CPU time of a task");
  timer_ = timer;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(seconds.count());
  when.it_value.tv_nsec = static_cast<long>((time - seconds).count());
  ::timer_settime(timer, 0, &when, nullptr);
}

CpuTimeLimit::~CpuTimeLimit() {
  ::timer_delete(static_cast<timer_t>(timer_));
  ::signal(SIGXCPU, SIG_DFL);
  cpu_time_note.store(nullptr, std::memory_order_relaxed);
}

void take_no_interrupts() noexcept {
  set_handler(SIGINT, [](int) {}, SA_RESTART);
}

void tell_of_interrupts() noexcept {
  struct sigaction now{};
  ::sigaction(SIGINT, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_DFL) set_handler(SIGINT, on_interrupt, 0);
}

bool thread_sleeps(pid_t pid, pid_t tid) {
  const std::string stat = read_small_file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(tid) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && name_end + 2 < stat.size() &&
         (stat[name_end + 2] == 'S' || stat[name_end + 2] == 'D' || stat[name_end + 2] == 'T');
}

}  // namespace tandem::detail
