/// Where exceptions go that leave a thread's body.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>

#include <tandem/thread_info.hpp>

namespace tandem {

/// One exception that nobody caught. Value.
struct ExceptHookArgs {
  std::string type_name;         ///< Readable, for example "std::out_of_range".
  std::string text;              ///< what(), or empty if it has none.
  std::string stack;             ///< Where it was thrown, one line for each call; empty if that is not known.
  std::exception_ptr exception;  ///< The exception itself.
  /// The Thread that it ended; empty for a task of start_new_thread(), which has no Thread.
  std::optional<ThreadInfo> thread;
  std::uint64_t thread_id = 0;  ///< Tandem's number for the thread, in either case.
  std::string description;      ///< The thread's name, or what the task runs.
};

using ExceptHook = std::function<void(const ExceptHookArgs&)>;

/// Sets what is called, in the thread that ends, when an exception leaves its body; an empty function means
/// default_excepthook(). Returns the one before. An ExitRequest is never reported. What the hook itself throws is
/// reported in its place and the process goes on. Any thread may call this at any time.
ExceptHook set_excepthook(ExceptHook hook);
/// The hook in force.
[[nodiscard]] ExceptHook excepthook();
/// Prints one report, in one piece, on standard error: name, stack, type and text. Does nothing if there is none.
void default_excepthook(const ExceptHookArgs& args);

}  // namespace tandem
