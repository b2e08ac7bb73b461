#include "process/child_main.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ext/stdio_sync_filebuf.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <stop_token>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

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
#include "thread/thread_registry.hpp"

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
  // The thread's, which lives as long as the process. Known here too, for a leak checker that comes before it has
  // begun.
  static StopListener* listener = nullptr;
  listener = new StopListener{record, {}};
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
  for (std::ostream* const stream : {&std::cout, &std::cerr, &std::clog}) {
    // A stream that is in step with that of C, as it is unless the program says otherwise, keeps nothing itself.
    const std::streambuf* const buffer = stream->rdbuf();
    if (buffer != nullptr && typeid(*buffer) != typeid(__gnu_cxx::stdio_sync_filebuf<char>)) stream->flush();
  }
  std::fflush(nullptr);
}

// By address, which is known from the program's start: to find the function by its name takes a child 20 us.
void (*const volatile end_at_once)(int) = ::_exit;

[[noreturn]] void leave(int code, Leave how) {
  flush_streams();
  if (how == Leave::AtOnce) end_at_once(code);
  std::exit(code);
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
  if (setup.crash_handler && !crash_handler_is_off())
    install_crash_handler(record);
  else
    remove_crash_handler();
  TANDEM_KILL_POINT("process.child.body");
  const int code = run_body(setup, record, body);
  TANDEM_KILL_POINT("process.child.returned");
  run_process_exit();
  ChildRecord::of(*record).note_exit(code);
  TANDEM_KILL_POINT("process.child.leaving");
  leave(code, how);
}

// Whether this process has it already, from the server.
bool has_environment(const std::string& text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  char* const* entry = environ;
  for (; entry != nullptr && *entry != nullptr && at != end; ++entry, at += std::strlen(at) + 1)
    if (std::strcmp(*entry, at) != 0) return false;
  return at == end && (entry == nullptr || *entry == nullptr);
}

void take_environment(const std::string& text) {
  if (has_environment(text)) return;
  // Kept for ever, as the environment of any process.
  static const auto* const kept = new std::string(text);
  static auto* const entries = new std::vector<char*>;
  for (std::size_t at = 0; at < kept->size(); at += std::strlen(kept->c_str() + at) + 1)
    entries->push_back(const_cast<char*>(kept->c_str() + at));
  entries->push_back(nullptr);
  environ = entries->data();
}

void say_begun(int channel) {
  const Fd self = open_pidfd(::getpid());
  const StartReply reply{0, ::getpid()};
  const int fd = self.get();
  // Refused if the parent is gone, which ends this process by other means.
  static_cast<void>(send_message(channel, &reply, sizeof reply, {&fd, 1}));
}

void do_nothing() {}

}  // namespace

void rehearse_parcel() noexcept try {
  const SharedObjectPtr record = make_plain(sizeof(ChildRecord));
  Encoder encoder(Encoder::Purpose::Arguments);
  encode(encoder, ChildSetup());
  encoder.refer(record);
  encode_call<void (*)()>(encoder, do_nothing);
  const SharedObjectPtr parcel = make_parcel(encoder.bytes().data(), encoder.bytes().size(), encoder.objects());
  const auto [bytes, size] = parcel_bytes(*attach(parcel->id(), ObjectKind::Parcel));
  Decoder decoder(std::span(bytes, size), {});
  const auto setup = decode<ChildSetup>(decoder);
  static_cast<void>(decoder.refer(ObjectKind::Plain));
  static_cast<void>(run_body(setup, record, [&](std::stop_token stop) { return run_call(decoder, std::move(stop)); }));
} catch (const std::exception&) {
  // The children do it all themselves.
}

void rehearse_child() noexcept try {
  std::string environment;
  for (char* const* entry = environ; entry != nullptr && *entry != nullptr; ++entry)
    environment.append(*entry, std::strlen(*entry) + 1);
  take_environment(environment);
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  ::umask(::umask(0));
  if (const Fd folder(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)); folder) static_cast<void>(::fchdir(folder.get()));
  static_cast<void>(ThreadRegistry::instance().alive());
  [[maybe_unused]] const volatile pthread_t self = ::pthread_self();
  rusage used{};
  static_cast<void>(::getrusage(RUSAGE_SELF, &used));
  flush_streams();
  // And what it takes to wait for anything.
  static_cast<void>(std::chrono::steady_clock::now());
  ::sched_yield();
} catch (const std::exception&) {
  // As above.
}

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
      ChildRecord::of(*record).inheritance.take_over();
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
