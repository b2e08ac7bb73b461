/// How a process is started.
#pragma once

#include <string_view>

namespace tandem {

/// The three ways to start a process. docs/reference/start_method.md says when to take which.
enum class StartMethod {
  ForkServer,  ///< A clean copy of this program, executed once, forks each child. Always safe; the default.
  Spawn,       ///< This program is executed afresh for each child: nothing is shared at all.
  Fork,        ///< A plain fork of this process. Only safe while it has no other threads.
};

/// Says on a call that the process is to be forked off this one, whatever the default is, so that the callable and its
/// arguments need not travel: references (std::ref), capturing lambdas, big data that is only read.
struct fork_t {
  explicit fork_t() = default;
};
inline constexpr fork_t fork{};

/// Sets how processes are started that do not say it themselves; children inherit it. Any thread may call it.
/// Throws std::invalid_argument for a value that is none of the three.
void set_start_method(StartMethod method);
/// How processes are started that do not say it themselves.
[[nodiscard]] StartMethod start_method() noexcept;

/// "forkserver", "spawn" or "fork": Python's names.
[[nodiscard]] std::string_view to_string(StartMethod method) noexcept;
/// The method of that name. Throws std::invalid_argument, which lists the names, if there is none.
[[nodiscard]] StartMethod parse_start_method(std::string_view name);

/// What happens when a process with other threads is to be forked: in the child those threads are gone, but the locks
/// that they held stay locked for ever, also inside of libraries.
enum class ForkThreadPolicy {
  Warn,    ///< One warning for each process on standard error. The default.
  Refuse,  ///< start() throws StateError before any side effect.
  Allow,   ///< Nothing.
};
/// Sets it; children inherit it. Throws std::invalid_argument for a value that is none of the three.
void set_fork_thread_policy(ForkThreadPolicy policy);
[[nodiscard]] ForkThreadPolicy fork_thread_policy() noexcept;

}  // namespace tandem
