/// The symbols and line numbers of one program or library file, read by libdw.
#pragma once

#include <elfutils/libdwfl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/stack.hpp"

namespace tandem::detail {

/// A function that an address lies in. Several for one address where calls were inlined, innermost first.
struct SourcePlace {
  std::string function;
  /// Empty without debug information.
  std::string file;
  int line = 0;
};

/// Owner. Not for several threads at once.
class SymbolFile {
 public:
  /// Opens the file that `module` was loaded from, if it is still the one with the same build-id.
  explicit SymbolFile(const StackModule& module);

  /// The functions at an address as the file counts it. Empty if the file is not there or does not say. Good until the
  /// next call. Cost: from 10 us to milliseconds, by the size of the source's debug information; answers are kept.
  const std::vector<SourcePlace>& places_at(std::uint64_t address);

 private:
  struct End {
    void operator()(Dwfl* session) const { dwfl_end(session); }
  };

  bool open(const char* path, const StackModule& module);
  std::vector<SourcePlace> find_places_at(std::uint64_t address) const;
  std::vector<SourcePlace> inlined_places_at(Dwarf_Addr address) const;
  Dwarf_Die* unit_at(Dwarf_Addr address, Dwarf_Addr& bias) const;

  std::unique_ptr<Dwfl, End> session_;
  Dwfl_Module* file_ = nullptr;
  GElf_Addr bias_ = 0;
  std::unordered_map<std::uint64_t, std::vector<SourcePlace>> known_;
};

}  // namespace tandem::detail
