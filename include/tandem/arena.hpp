/// The memory that all shared objects of the family live in: what it holds, and how much it may.
#pragma once

#include <cstddef>

namespace tandem {

/// How full the arena is. Value.
struct ArenaUsage {
  std::size_t in_use_bytes = 0;    ///< In shared objects and waiting items, with what the allocator adds to them.
  std::size_t resident_bytes = 0;  ///< What the kernel holds for it: in use, or free and kept warm for reuse.
  std::size_t limit_bytes = 0;     ///< What resident_bytes may grow to.
};

/// Looks at the arena, making it if there is none yet. Gives back first what killed processes held.
ArenaUsage arena_usage();

/// Sets the limit for the whole family. At first it is four fifths of the machine's memory, or what the environment
/// variable TANDEM_ARENA_LIMIT says in bytes. Reaching it is a std::system_error where memory was wanted (put(),
/// start(), a constructor), never a crash. Throws std::invalid_argument for less than 1 MiB.
void set_arena_limit(std::size_t limit_bytes);

}  // namespace tandem
