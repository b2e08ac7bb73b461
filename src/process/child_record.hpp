/// What a child tells its parent by shared memory, and the parent the child.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include <tandem/detail/shared_object.hpp>

#include "core/exception_text.hpp"
#include "core/stack.hpp"
#include "process/child_setup.hpp"

namespace tandem::detail {

/// How far a note has come. Who finds it Empty, and makes it Begun, writes it.
enum class NoteState : std::uint32_t { Empty = 0, Begun = 1, Complete = 2 };

/// One for each child, in the arena; all zeros at first. Kept by the parent, so it outlives the child.
///
/// Killed peers: only the child writes notes, and the parent reads them when the child is dead: a note that is not
/// Complete was cut short by the kill and is not believed, but for a stack's frames, which are added one by one.
struct ChildRecord {
  /// A futex: 1 once the parent has asked the body to stop.
  std::atomic<std::uint32_t> stop_requested;

  /// The exit code, noted just before leaving: told when the kernel's status went to somebody else.
  std::atomic<NoteState> exit_state;
  std::int32_t exit_code;

  std::atomic<NoteState> exception_state;
  std::atomic<NoteState> crash_state;
  std::int32_t crash_signal;

  /// This process's own peak: the kernel's count for a spawned child begins with its parent's. 0 if it had no time.
  std::atomic<std::uint64_t> peak_memory_bytes;

  Inheritance inheritance;

  // Each ends with a zero; what is too long is cut.
  char exception_type[256];
  char exception_text[4096];
  char exception_stack[8192];

  StackTrace crash_stack;

  static ChildRecord& of(const SharedObject& object) { return *static_cast<ChildRecord*>(object.data()); }
  /// Notes an exception; the first one only.
  void note_exception(const ExceptionInfo& info) noexcept;
  void note_exit(int code) noexcept;
  /// Notes the most memory that this process had. Async-signal-safe.
  void note_peak_memory() noexcept;

  /// Whether this process was executed as a child: then the kernel's quick count begins with its parent's.
  static bool executed;
};
static_assert(std::atomic<NoteState>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free,
              "shared between processes, and written in signal handlers");
static_assert(sizeof(ChildRecord) == 32 + 24 + 256 + 4096 + 8192 + sizeof(StackTrace), "layout in shared memory");

}  // namespace tandem::detail
