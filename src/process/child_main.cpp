#include "process/child_main.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <stop_token>
#include <string>
#include <utility>

#include <tandem/excepthook.hpp>
#include <tandem/start_new_thread.hpp>

#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "core/throw_stack.hpp"
#include "ipc/futex.hpp"
#include "process/child_record.hpp"
#include "process/children.hpp"
#include "process/crash_handler.hpp"
#include "process/descriptors.hpp"
#include "process/server_link.hpp"
#include "process/this_process.hpp"
#include "thread/excepthook.hpp"
#include "thread/native_thread.hpp"
#include "thread/process_exit.hpp"

namespace tandem::detail {
namespace {

using Body = std::function<int(std::stop_token)>;

bool is_default_hook(const ExceptHook& hook) {
  using Function = void (*)(const ExceptHookArgs&);
  const auto* const function = hook.target<Function>();
  return function != nullptr && *function == Function(default_excepthook);
}

void print_report(const ExceptionInfo& info) {
  std::string text =
      "Exception in process " + this_process_info().name + " (pid " + std::to_string(::getpid()) + "):\n" + info.stack;
  if (!info.stack.empty() && info.stack.back() != '\n') text += '\n';
  text += info.type_name;
  if (!info.what.empty()) text += ": " + info.what;
  print_on_stderr(text + "\n");
}

// To the program's own hook if it has set one, else on standard error.
void report(const ExceptionInfo& info, const std::exception_ptr& exception) {
  const ExceptHook hook = excepthook();
  if (is_default_hook(hook)) return print_report(info);
  ExceptHookArgs args;
  args.type_name = info.type_name;
  args.text = info.what;
  args.stack = info.stack;
  args.exception = exception;
  args.thread = current_thread();
  args.thread_id = args.thread->id();
  args.description = this_process_info().name;
  try {
    hook(args);
  } catch (const ExitRequest&) {
  } catch (...) {
    print_report(info);
    print_uncaught("the hook for uncaught exceptions", std::current_exception());
  }
}

void note_uncaught(ChildRecord* record, const std::exception_ptr& exception) noexcept try {
  const ExceptionInfo info = describe_exception(exception);
  if (record != nullptr) record->note_exception(info);
  report(info, exception);
} catch (...) {
  print_on_stderr("tandem: an exception could not be reported: out of memory\n");
}

// Waits for the parent's request for as long as the process lives. Only in children whose body takes a stop token.
struct StopListener {
  SharedObjectPtr record;
  std::stop_source source;

  static void* run(void* listener) {
    auto& self = *static_cast<StopListener*>(listener);
    std::atomic<std::uint32_t>& word = ChildRecord::of(*self.record).stop_requested;
    // SYNC(stop-request)
    while (word.load(std::memory_order_acquire) == 0) futex_wait(word, 0, Deadline::never());
    self.source.request_stop();
    return nullptr;
  }
};

std::stop_token listen_for_stop(const SharedObjectPtr& record) {
  auto* const listener = new StopListener{record, {}};  // The thread's, which lives as long as the process.
  const std::stop_token token = listener->source.get_token();
  if (ChildRecord::of(*record).stop_requested.load(std::memory_order_acquire) != 0) {
    listener->source.request_stop();
    delete listener;
    return token;
  }
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = start_native_thread(0, StopListener::run, listener);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    delete listener;
    throw_system_error(error, "cannot start the thread that listens for stop requests");
  }
  Children::instance().own_threads.fetch_add(1, std::memory_order_relaxed);
  return token;
}

int run_body(const ChildSetup& setup, const SharedObjectPtr& record, const Body& body) {
  int code = 0;
  const ExitScope exit_scope;
  ThrowStackScope throw_scope;
  try {
    throw_scope.run([&] { code = body(setup.wants_stop_token ? listen_for_stop(record) : std::stop_token()); });
  } catch (const ExitRequest& request) {
    code = request.code();
  } catch (...) {
    note_uncaught(&ChildRecord::of(*record), std::current_exception());
    code = 1;
  }
  return code;
}

void flush_streams() {
  std::cout.flush();
  std::cerr.flush();
  std::clog.flush();
  std::fflush(nullptr);
}

[[noreturn]] void leave(int code, Leave how) {
  flush_streams();
  if (how == Leave::ByExit) std::exit(code);
  ::_exit(code);
}

bool crash_handler_is_off() {
  const char* const text = std::getenv("TANDEM_CRASH_HANDLER");
  return text != nullptr && std::string_view(text) == "0";
}

[[noreturn]] void live(const ChildSetup& setup, const SharedObjectPtr& record, Leave how, const Body& body) {
  become(setup);
  set_start_method(setup.default_method);
  set_fork_thread_policy(setup.fork_threads);
  set_stack_size(setup.thread_stack_bytes);
  if (setup.log_level) {
    set_log_level(*setup.log_level);
  } else {
    forget_log_level();
    static_cast<void>(log_level());
  }
  clear_exit_hooks();
  arm_process_exit();
  on_process_exit(end_children);
  if (setup.crash_handler && !crash_handler_is_off()) install_crash_handler(record);
  TANDEM_KILL_POINT("process.child.body");
  const int code = run_body(setup, record, body);
  TANDEM_KILL_POINT("process.child.returned");
  run_process_exit();
  ChildRecord::of(*record).note_exit(code);
  TANDEM_KILL_POINT("process.child.leaving");
  leave(code, how);
}

void take_environment(const std::vector<std::string>& entries) {
  ::clearenv();
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos) ::setenv(entry.substr(0, equals).c_str(), entry.c_str() + equals + 1, 1);
  }
}

void say_begun(int channel) {
  const Fd self = open_pidfd(::getpid());
  const StartReply reply{0, ::getpid()};
  const int fd = self.get();
  // Refused if the parent is gone, which ends this process by other means.
  static_cast<void>(send_message(channel, &reply, sizeof reply, {&fd, 1}));
}

}  // namespace

void run_forked_child(const ChildSetup& setup, const SharedObjectPtr& record, std::unique_ptr<ProcessBody>& body) {
  live(setup, record, Leave::AtOnce, [&body](std::stop_token stop) {
    const std::unique_ptr<ProcessBody> mine = std::move(body);  // Destroyed when it has run, with the arguments.
    return mine->run(std::move(stop));
  });
}

void run_portable_child(PortableChild child) {
  const Leave how = child.leave;
  try {
    TANDEM_KILL_POINT("process.child.begun");
    SharedObjectPtr parcel = attach(child.parcel, ObjectKind::Parcel);
    TANDEM_KILL_POINT("process.child.attached");
    const auto [bytes, size] = parcel_bytes(*parcel);
    std::vector<int> descriptors;
    for (Fd& fd : child.arguments) descriptors.push_back(fd.release());
    Decoder decoder(std::span(bytes, size), descriptors);
    const auto setup = decode<ChildSetup>(decoder);
    const SharedObjectPtr record = decoder.refer(ObjectKind::Plain);
    if (how == Leave::AtOnce) {
      take_environment(setup.environment);
      apply_signals(setup);
      ::umask(setup.file_mode_mask);
      say_begun(child.channel.get());
    }
    child.channel.reset();
    TANDEM_KILL_POINT("process.child.told");
    // The parcel may be big: it goes as soon as there is a copy of what is in it.
    live(setup, record, how,
         [&](std::stop_token stop) { return run_call(decoder, std::move(stop), [&parcel] { parcel.reset(); }); });
  } catch (...) {
    // Only what comes before live(), which lets nothing through.
    note_uncaught(nullptr, std::current_exception());
    leave(1, Leave::AtOnce);
  }
}

}  // namespace tandem::detail
