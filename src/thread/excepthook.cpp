#include <tandem/error.hpp>
#include <tandem/excepthook.hpp>

#include <cstdio>
#include <memory>
#include <utility>

#include "core/exception_text.hpp"
#include "core/mutex.hpp"
#include "thread/excepthook.hpp"
#include "thread/fork_handlers.hpp"
#include "thread/thread_record.hpp"
#include "thread/thread_registry.hpp"

namespace tandem {
namespace detail {
namespace {

/// Never destroyed: daemon threads may end while the process exits.
struct HookInForce {
  Mutex mutex;
  ExceptHook hook TANDEM_GUARDED_BY(mutex);
};

HookInForce& hook_in_force() {
  static auto* const made = new HookInForce;
  return *made;
}

// "type: text", after the stack if there is one.
std::string report(const std::string& headline, const std::string& type_name, const std::string& text,
                   const std::string& stack) {
  std::string all = headline + "\n" + stack;
  if (!stack.empty() && stack.back() != '\n') all += '\n';
  all += type_name;
  if (!text.empty()) all += ": " + text;
  return all + "\n";
}

}  // namespace

Mutex& excepthook_mutex() {
  return hook_in_force().mutex;
}

void print_on_stderr(const std::string& text) noexcept {
  // One write, because standard error is not buffered, so that reports of several threads do not mix. Without a
  // standard error it fails, and there is nobody to tell.
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
}

void print_uncaught(const std::string& where, std::exception_ptr exception) noexcept try {
  const ExceptionInfo info = describe_exception(std::move(exception));
  print_on_stderr(report("Exception in " + where + ":", info.type_name, info.what, info.stack));
} catch (...) {
  print_on_stderr("tandem: an exception could not be reported: out of memory\n");
}

void report_uncaught(ThreadRecord& record, std::exception_ptr exception) noexcept try {
  ThreadRegistry& registry = ThreadRegistry::instance();
  ExceptHookArgs args;
  ExceptionInfo info = describe_exception(exception);
  args.type_name = std::move(info.type_name);
  args.text = std::move(info.what);
  args.stack = std::move(info.stack);
  args.exception = std::move(exception);
  args.thread_id = registry.id(record);
  args.description = registry.name(record);
  if (registry.kind(record) != ThreadKind::Task) args.thread.emplace(record.shared_from_this());
  try {
    const ExceptHook hook = excepthook();
    hook(args);
  } catch (const ExitRequest&) {
  } catch (...) {
    default_excepthook(args);
    print_uncaught("the hook for uncaught exceptions", std::current_exception());
  }
} catch (...) {
  print_on_stderr("tandem: an exception could not be reported: out of memory\n");
}

}  // namespace detail

ExceptHook set_excepthook(ExceptHook hook) {
  detail::HookInForce& in_force = detail::hook_in_force();
  {
    detail::MutexGuard guard(in_force.mutex);
    in_force.hook.swap(hook);
  }
  return hook ? hook : ExceptHook(default_excepthook);
}

ExceptHook excepthook() {
  detail::HookInForce& in_force = detail::hook_in_force();
  detail::MutexGuard guard(in_force.mutex);
  return in_force.hook ? in_force.hook : ExceptHook(default_excepthook);
}

void default_excepthook(const ExceptHookArgs& args) {
  const std::string who =
      args.thread ? "thread " + args.description : args.description + " in thread " + std::to_string(args.thread_id);
  detail::print_on_stderr(detail::report("Exception in " + who + ":", args.type_name, args.text, args.stack));
}

}  // namespace tandem
