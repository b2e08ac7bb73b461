#include "process/crash_handler.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <utility>

#include "process/child_record.hpp"

namespace tandem::detail {
namespace {

constexpr int kFatalSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
// The unwinder needs 8 KiB; the kernel's frame, with the registers of wide vectors, some more.
constexpr std::size_t kHandlerStackBytes = 64 * 1024;

// For the handlers. Null in a fork server, whose own crash nobody notes.
ChildRecord* noted = nullptr;
std::terminate_handler terminate_before = nullptr;

bool prepared = false;  // By this process or by the fork server that it was forked off.

void on_fatal_signal(int signum, siginfo_t*, void* context) {
  NoteState empty = NoteState::Empty;
  if (noted == nullptr) {
    // The default action is all there is to do.
  } else if (noted->crash_state.compare_exchange_strong(empty, NoteState::Begun, std::memory_order_relaxed)) {
    noted->crash_signal = signum;
    capture_stack(noted->crash_stack, context);
    noted->note_peak_memory();
    noted->crash_state.store(NoteState::Complete, std::memory_order_release);  // SYNC(child-note)
  } else {
    // Another thread is noting its own crash and will end the process. (Not this one: all fatal signals are blocked
    // here, and a fault that is blocked kills at once.)
    for (;;) ::pause();
  }
  // Pending until the handler returns, then the default action is taken, with a core dump if that is wanted.
  ::signal(signum, SIG_DFL);
  ::raise(signum);
}

[[noreturn]] void on_terminate() {
  if (const std::exception_ptr exception = noted != nullptr ? std::current_exception() : nullptr) {
    try {
      noted->note_exception(describe_exception(exception));
    } catch (const std::exception&) {
      // No memory to describe it in: the signal alone must tell.
    }
  }
  if (terminate_before != nullptr) terminate_before();
  std::abort();
}

// So that a stack overflow can be noted too. For the main thread; others have no room but their own. Takes no memory
// until it is used.
void give_handler_a_stack() {
  alignas(64) static char memory[kHandlerStackBytes];
  stack_t now{};
  if (::sigaltstack(nullptr, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0) return;
  stack_t own{};
  own.ss_sp = memory;
  own.ss_size = sizeof memory;
  ::sigaltstack(&own, nullptr);
}

}  // namespace

void prepare_crash_handler() {
  if (std::exchange(prepared, true)) return;
  prepare_stack_capture();
  give_handler_a_stack();
  struct sigaction action{};
  action.sa_sigaction = on_fatal_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int signum : kFatalSignals) sigaddset(&action.sa_mask, signum);
  for (const int signum : kFatalSignals) {
    struct sigaction before{};
    if (::sigaction(signum, nullptr, &before) != 0) continue;
    if ((before.sa_flags & SA_SIGINFO) != 0 || before.sa_handler != SIG_DFL) continue;
    ::sigaction(signum, &action, nullptr);
  }
  terminate_before = std::set_terminate(on_terminate);
}

void install_crash_handler(const SharedObjectPtr& record) {
  // Kept for ever: a signal may come until the very end. (A child that was forked off a child is given another one.)
  static auto* const kept = new SharedObjectPtr;
  *kept = record;
  noted = &ChildRecord::of(*record);
  prepare_crash_handler();
}

void remove_crash_handler() {
  if (!std::exchange(prepared, false)) return;
  for (const int signum : kFatalSignals)
    if (is_crash_handled(signum)) ::signal(signum, SIG_DFL);
  std::set_terminate(terminate_before);
}

bool is_crash_handled(int signum) {
  struct sigaction now{};
  return ::sigaction(signum, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
         now.sa_sigaction == on_fatal_signal;
}

}  // namespace tandem::detail
