#include "wire/code_address.hpp"

#include <dlfcn.h>

#include <atomic>

#include <fmt/format.h>

#include <tandem/wire.hpp>

#include "wire/modules.hpp"

// Of the unwinder that every C++ program has; libgcc declares it in no header that it installs.
struct UnwindBases {
  void* text;
  void* data;
  void* function;
};
extern "C" const void* _Unwind_Find_FDE(void* address, UnwindBases* bases);

namespace tandem::detail {
namespace {

std::atomic<bool> only_loaded_functions{false};

bool begins_function(void* code) {
  UnwindBases bases{};
  return _Unwind_Find_FDE(code, &bases) != nullptr && bases.function == code;
}

const Module* module_of(const BuildId& build_id) {
  for (const Module& module : loaded_modules())
    if (module.build_id == build_id) return &module;
  return nullptr;
}

[[noreturn]] void throw_other_build(const CodeAddress& wanted, const Module& here) {
  throw WireError(
      fmt::format("a callable of another build: its module is {} (build-id {}), but {} here has build-id {}",
                  wanted.module, to_text(wanted.build_id), here.path, to_text(here.build_id)));
}

const Module& find_module(const CodeAddress& address) {
  if (const Module* module = module_of(address.build_id)) return *module;
  for (const Module& module : loaded_modules())
    if (address.in_program ? module.is_program : module.path == address.module) throw_other_build(address, module);
  if (only_loaded_functions.load(std::memory_order_relaxed))
    throw WireError(fmt::format("a callable of {} (build-id {}), which this process has not loaded", address.module,
                                to_text(address.build_id)));
  // For good: callables decoded from now on may be kept by anybody.
  if (::dlopen(address.module.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
    throw WireError(fmt::format("cannot load the library of a callable: {}", ::dlerror()));
  if (const Module* module = module_of(address.build_id)) return *module;
  for (const Module& module : loaded_modules())
    if (module.path == address.module) throw_other_build(address, module);
  throw WireError(fmt::format("cannot find the library of a callable, {} (build-id {}), although it is loaded",
                              address.module, to_text(address.build_id)));
}

}  // namespace

CodeAddress code_address_of(const void* code) {
  const auto address = reinterpret_cast<std::uintptr_t>(code);
  for (const Module& module : loaded_modules())
    if (module.has_code_at(address)) return {module.build_id, address - module.base, module.is_program, module.path};
  throw WireError(
      fmt::format("no code of a loaded module at {}: a null or stale function pointer does not travel", code));
}

void* find_code(const CodeAddress& address) {
  const bool in_program = address.in_program && address.build_id == program_module().build_id;
  const Module& module = in_program ? program_module() : find_module(address);
  const std::uintptr_t here = module.base + address.offset;
  if (!module.has_code_at(here))
    throw WireError(fmt::format("no code at offset {:#x} of {}", address.offset, address.module));
  if (only_loaded_functions.load(std::memory_order_relaxed) && !begins_function(reinterpret_cast<void*>(here)))
    throw WireError(fmt::format("no function begins at offset {:#x} of {}", address.offset, address.module));
  return reinterpret_cast<void*>(here);
}

void find_only_loaded_functions() noexcept {
  only_loaded_functions.store(true, std::memory_order_relaxed);
}

void Encoder::write_code(const void* function) {
  check_for_family("a function");
  const CodeAddress address = code_address_of(function);
  (*this)(address.build_id, address.offset, address.in_program, address.module);
}

void* Decoder::read_code() {
  check_from_family("a function");
  CodeAddress address;
  (*this)(address.build_id, address.offset, address.in_program, address.module);
  return find_code(address);
}

}  // namespace tandem::detail
