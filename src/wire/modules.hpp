/// The modules of this process: the program and its shared libraries.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "wire/code_address.hpp"

namespace tandem::detail {

/// One loaded module. Value.
struct Module {
  struct Range {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    bool contains(std::uintptr_t address) const { return address >= begin && address < end; }
  };

  std::uintptr_t base = 0;  ///< What is added to the file's addresses.
  BuildId build_id{};
  bool is_program = false;
  std::string path;
  std::vector<Range> code;  ///< The executable parts.

  bool has_code_at(std::uintptr_t address) const {
    for (const Range& range : code)
      if (range.contains(address)) return true;
    return false;
  }
};

/// The modules loaded now. The list stays valid for the life of the process; a later call may return another one.
const std::vector<Module>& loaded_modules();

/// The program itself, without its path: what nearly every callable belongs to, found without a look at the rest.
const Module& program_module();

std::string to_text(const BuildId& build_id);

}  // namespace tandem::detail
