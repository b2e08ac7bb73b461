/// Names a function so that any process of the same program finds it, wherever its modules are loaded.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace tandem::detail {

/// Identifies the exact build of a module. The linker's build-id if there is one, cut or filled with zeros; otherwise a
/// digest of the module's code as it lies in memory.
using BuildId = std::array<std::byte, 20>;

/// A function as a place in a module. Value.
struct CodeAddress {
  BuildId build_id{};
  std::uint64_t offset = 0;  ///< From where the module is loaded, so address randomisation does not change it.
  bool in_program = false;   ///< In the program itself, not in a shared library.
  std::string module;        ///< The file, to load it if it is a library, and for messages.
};

/// Throws WireError if `code` lies in no loaded module, as for code made at run time.
///
/// Threads and processes: safe from any thread, also in a child after fork(): takes no lock of Tandem's.
/// Cost: well under a microsecond; much more only after a module was loaded or unloaded.
CodeAddress code_address_of(const void* code);

/// Finds the function in this process. A shared library that is not loaded is loaded, for good. Throws WireError if the
/// module cannot be loaded, is here of another build (both builds are named), or has no code at this place.
void* find_code(const CodeAddress& address);

/// From now on find_code() in this process loads no library, and finds only what begins a function by the module's own
/// tables for unwinding: for a process that works for other machines. Cannot be undone; a second call does nothing.
void find_only_loaded_functions() noexcept;

}  // namespace tandem::detail
