#include "core/symbol_file.hpp"

#include <dwarf.h>
#include <elfutils/libdw.h>

#include <cstring>

#include "core/demangle.hpp"

namespace tandem::detail {
namespace {

// Debug information apart from the file is looked for by build-id, in the usual directories of this machine. Not
// dwfl_standard_find_debuginfo: that may ask a server, and a process in trouble must not wait for a network.
const Dwfl_Callbacks kCallbacks = {
    .find_elf = nullptr,
    .find_debuginfo = dwfl_build_id_find_debuginfo,
    .section_address = dwfl_offline_section_address,
    .debuginfo_path = nullptr,
};

std::string function_name(Dwarf_Die* die) {
  Dwarf_Attribute attribute;
  for (const unsigned which : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name}) {
    if (dwarf_attr_integrate(die, which, &attribute) != nullptr) {
      if (const char* name = dwarf_formstring(&attribute)) return demangle(name);
    }
  }
  const char* name = dwarf_diename(die);
  return name != nullptr ? name : "";
}

// Where the inlined function `die` was called.
void read_call_site(Dwarf_Die* die, Dwarf_Files* files, SourcePlace& caller) {
  Dwarf_Attribute attribute;
  Dwarf_Word file = 0;
  Dwarf_Word line = 0;
  if (dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &attribute), &file) != 0) return;
  if (dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &attribute), &line) != 0) return;
  if (const char* name = dwarf_filesrc(files, file, nullptr, nullptr)) {
    caller.file = name;
    caller.line = static_cast<int>(line);
  }
}

// Collects the function that an address lies in, and within it the inlined ones, outermost first. Not
// dwarf_getscopes(): that does not look into namespaces, where clang puts functions.
bool find_functions(Dwarf_Die* parent, Dwarf_Addr address, std::vector<Dwarf_Die>& functions) {
  Dwarf_Die die;
  if (dwarf_child(parent, &die) != 0) return false;
  do {
    const int tag = dwarf_tag(&die);
    if (tag == DW_TAG_namespace) {
      if (find_functions(&die, address, functions)) return true;
    } else if (tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block) {
      if (dwarf_haspc(&die, address) <= 0) continue;
      if (tag != DW_TAG_lexical_block) functions.push_back(die);
      find_functions(&die, address, functions);
      return true;
    }
  } while (dwarf_siblingof(&die, &die) == 0);
  return false;
}

// The functions at an address, innermost first, all but the innermost with the place of the call that was inlined.
std::vector<SourcePlace> functions_at(Dwarf_Die* unit, Dwarf_Addr address) {
  std::vector<Dwarf_Die> functions;
  find_functions(unit, address, functions);
  Dwarf_Files* files = nullptr;
  std::size_t file_count = 0;
  if (dwarf_getsrcfiles(unit, &files, &file_count) != 0) files = nullptr;
  std::vector<SourcePlace> places;
  for (std::size_t i = functions.size(); i-- > 0;) {
    SourcePlace& place = places.emplace_back();
    place.function = function_name(&functions[i]);
    if (i + 1 < functions.size() && files != nullptr) read_call_site(&functions[i + 1], files, place);
  }
  return places;
}

void read_line(Dwarf_Die* unit, Dwarf_Addr address, SourcePlace& place) {
  Dwarf_Line* line = dwarf_getsrc_die(unit, address);
  const char* name = line != nullptr ? dwarf_linesrc(line, nullptr, nullptr) : nullptr;
  if (name == nullptr) return;
  Dwarf_Attribute attribute;
  const char* directory = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attribute));
  place.file = name[0] != '/' && directory != nullptr ? std::string(directory) + "/" + name : name;
  dwarf_lineno(line, &place.line);
}

}  // namespace

SymbolFile::SymbolFile(const StackModule& module) {
  if (open(module.path, module)) return;
  // The program's file may have been replaced or deleted, or have a path too long: the kernel still has it.
  if (module.build_id_size != 0) open("/proc/self/exe", module);
}

bool SymbolFile::open(const char* path, const StackModule& module) {
  if (path[0] != '/') return false;
  session_.reset(dwfl_begin(&kCallbacks));
  if (session_ == nullptr) return false;
  dwfl_report_begin(session_.get());
  file_ = dwfl_report_offline(session_.get(), "module", path, -1);
  dwfl_report_end(session_.get(), nullptr, nullptr);
  if (file_ == nullptr || dwfl_module_getelf(file_, &bias_) == nullptr) {
    file_ = nullptr;
    return false;
  }
  const unsigned char* build_id = nullptr;
  GElf_Addr where = 0;
  const int size = dwfl_module_build_id(file_, &build_id, &where);
  if (module.build_id_size != 0 &&
      (size != module.build_id_size || std::memcmp(build_id, module.build_id, module.build_id_size) != 0)) {
    file_ = nullptr;
  }
  return file_ != nullptr;
}

const std::vector<SourcePlace>& SymbolFile::places_at(std::uint64_t address) {
  // Programs fail again and again at the same few places; some hundred bytes for each of these are kept.
  constexpr std::size_t kMostKept = 4096;
  const auto known = known_.find(address);
  if (known != known_.end()) return known->second;
  if (known_.size() >= kMostKept) known_.clear();
  return known_[address] = find_places_at(address);
}

std::vector<SourcePlace> SymbolFile::find_places_at(std::uint64_t address) const {
  if (file_ == nullptr) return {};
  auto places = inlined_places_at(address + bias_);
  if (places.empty()) places.emplace_back();
  if (places.back().function.empty()) {
    const char* symbol = dwfl_module_addrname(file_, address + bias_);
    if (symbol == nullptr) return {};
    places.back().function = demangle(symbol);
  }
  return places;
}

std::vector<SourcePlace> SymbolFile::inlined_places_at(Dwarf_Addr address) const {
  Dwarf_Addr bias = 0;
  Dwarf_Die* unit = unit_at(address, bias);
  if (unit == nullptr) return {};
  std::vector<SourcePlace> places = functions_at(unit, address - bias);
  if (places.empty()) places.emplace_back();
  read_line(unit, address - bias, places.front());
  return places;
}

Dwarf_Die* SymbolFile::unit_at(Dwarf_Addr address, Dwarf_Addr& bias) const {
  if (Dwarf_Die* unit = dwfl_module_addrdie(file_, address, &bias)) return unit;
  // That needs an index (.debug_aranges) that g++ writes and clang does not.
  Dwarf_Die* unit = nullptr;
  while ((unit = dwfl_module_nextcu(file_, unit, &bias)) != nullptr) {
    if (dwarf_haspc(unit, address - bias) > 0) return unit;
  }
  return nullptr;
}

}  // namespace tandem::detail
