/// Stacks: taken anywhere, also in the handler of a fatal signal; turned into text later, also by another process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace tandem::detail {

/// Return addresses of the calling thread, innermost first: the cheapest form, valid in this process only.
struct RawStack {
  static constexpr std::size_t kMaxFrames = 64;

  std::uint32_t frame_count = 0;
  /// There were more frames than fit: the outermost are missing.
  bool truncated = false;
  std::array<std::uintptr_t, kMaxFrames> pcs;
};

/// A file mapped into the process that took the stack: what is needed to find its symbols anywhere else.
struct StackModule {
  static constexpr std::size_t kMaxBuildId = 20;
  static constexpr std::size_t kMaxPath = 215;

  /// What was added to the file's addresses when it was loaded.
  std::uint64_t base = 0;
  std::uint8_t build_id_size = 0;
  std::uint8_t build_id[kMaxBuildId] = {};
  /// Ends with a zero. Empty: too long to be kept, so that only base and build-id tell.
  char path[kMaxPath + 1] = {};
};

/// One frame. `module` is kNoModule for code that belongs to no file (made at run time, or a jump to nowhere).
struct StackFrame {
  static constexpr std::uint32_t kNoModule = 0xffffffff;

  /// An address inside the call instruction (or of the instruction that faulted) as the module's file counts it; the
  /// plain address if there is no module.
  std::uint64_t address = 0;
  std::uint32_t module = kNoModule;
  std::uint32_t padding = 0;
};

/// A stack that any process of the same machine can turn into text. Value without pointers: it may stand in memory
/// shared between processes.
/// Killed peers: `frame_count` grows after each frame is complete, so what a process killed in the middle of a capture
/// leaves behind is a shorter stack.
struct StackTrace {
  static constexpr std::size_t kMaxFrames = RawStack::kMaxFrames;
  static constexpr std::size_t kMaxModules = 16;

  std::uint32_t frame_count = 0;
  std::uint32_t module_count = 0;
  std::uint32_t truncated = 0;
  std::uint32_t padding = 0;
  std::array<StackFrame, kMaxFrames> frames;
  std::array<StackModule, kMaxModules> modules;
};
static_assert(sizeof(StackModule) == 248 && sizeof(StackFrame) == 16);
static_assert(sizeof(StackTrace) == 16 + 64 * 16 + 16 * 248, "processes of one program agree on the layout");

/// Makes the first capture cheap and free of work that a signal handler must not do (binding symbols, one-time set-up
/// of the unwinder). Call it once at the start of the process, before a handler may capture.
void prepare_stack_capture() noexcept;

/// Takes the stack of the calling thread from the caller of this function outwards.
/// Cost: about 0.5 us a frame; nothing is allocated.
void capture_raw_stack(RawStack& stack) noexcept;

/// The same, with the modules found: about 0.3 us a frame more.
void capture_stack(StackTrace& trace) noexcept;

/// Takes the stack that a signal interrupted; `ucontext` is the handler's third argument. Async-signal-safe after
/// prepare_stack_capture(): no allocation, no lock. Needs 8 KiB of the handler's stack. A jump to an address without
/// code, as a call of a null function pointer, is followed to the caller.
/// The unwinder believes the stack: where that has been overwritten it may itself fault. A handler must let the second
/// fault end the process (SA_RESETHAND); the frames found until then are in `trace`.
void capture_stack(StackTrace& trace, const void* ucontext) noexcept;

/// Finds the modules of a stack taken in this process, while they are loaded. Async-signal-safe as above.
void resolve_stack(const RawStack& stack, StackTrace& trace) noexcept;

/// Readable text, a line for each frame, innermost first, calls that were inlined included:
///
///   #0 parse(char const*) at /src/parse.cpp:12
///   #1 main at /src/main.cpp:30
///   #2 qsort_r in /lib/x86_64-linux-gnu/libc.so.6+0x4021f
///
/// Frames that say nothing to a reader are left out: how a throw works, at the inner end; how the C library and Tandem
/// start a thread or a program, at the outer end. Symbols come from the files on this machine whose build-id is the
/// one in the trace, never from the network; a frame without any is given as module+offset. Empty for an empty trace.
/// Threads: any at once, one after the other.
/// Cost: up to 0.2 s for the first stack through large files (the C library's debug information, where installed, is
/// one), about 30 us for a stack seen before.
std::string text(const StackTrace& trace);

}  // namespace tandem::detail
