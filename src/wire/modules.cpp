#include "wire/modules.hpp"

#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <sstream>

#include <fmt/format.h>

#include "core/system.hpp"

namespace tandem::detail {
namespace {

/// The modules at one time. Never freed, since a reader may hold one at any time and there is one for each time that a
/// module was loaded or unloaded; `previous` keeps the old ones reachable.
struct Snapshot {
  unsigned long long loaded = 0;  // The linker's counts of modules ever loaded and unloaded.
  unsigned long long unloaded = 0;
  std::vector<Module> modules;
  const Snapshot* previous = nullptr;
};

// SYNC(modules): a snapshot is complete before it is published here with release; who reads it with acquire therefore
// sees its modules. Without a lock, so that a child forked at any instant can go on.
std::atomic<const Snapshot*> newest{nullptr};

// Two lanes of a multiply-and-fold hash. It tells builds apart and withstands nobody's intent.
class Digest {
 public:
  void add(const void* bytes, std::size_t size) {
    const auto* at = static_cast<const unsigned char*>(bytes);
    for (; size >= 8; at += 8, size -= 8) {
      std::uint64_t word;
      std::memcpy(&word, at, 8);
      mix(word);
    }
    std::uint64_t rest = size;
    std::memcpy(reinterpret_cast<char*>(&rest) + 1, at, size);
    mix(rest);
  }
  BuildId result() const {
    BuildId id{};
    std::memcpy(id.data(), &low_, 8);
    std::memcpy(id.data() + 8, &high_, 8);
    return id;
  }

 private:
  void mix(std::uint64_t word) {
    low_ = (low_ ^ word) * 0x9e3779b97f4a7c15u;
    low_ ^= low_ >> 32;
    high_ = (high_ + word) * 0xc2b2ae3d27d4eb4fu;
    high_ ^= high_ >> 29;
  }
  std::uint64_t low_ = 0x243f6a8885a308d3u;  // Digits of pi.
  std::uint64_t high_ = 0x13198a2e03707344u;
};

std::size_t rounded_up(std::size_t size, std::size_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

/// Looks for the build-id among the notes of one segment.
bool read_build_id(const char* notes, std::size_t size, std::size_t alignment, BuildId& id) {
  while (size >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes, sizeof note);
    const std::size_t text_at = rounded_up(sizeof note + note.n_namesz, alignment);
    const std::size_t next = rounded_up(text_at + note.n_descsz, alignment);
    if (text_at + note.n_descsz > size) return false;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(notes + sizeof note, "GNU", 4) == 0) {
      std::memcpy(id.data(), notes + text_at, std::min<std::size_t>(note.n_descsz, id.size()));
      return true;
    }
    if (next >= size) return false;
    notes += next;
    size -= next;
  }
  return false;
}

BuildId build_id_of(const dl_phdr_info& info) {
  BuildId id{};
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info.dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* notes = reinterpret_cast<const char*>(info.dlpi_addr + segment.p_vaddr);
    if (read_build_id(notes, segment.p_memsz, segment.p_align == 8 ? 8 : 4, id)) return id;
  }
  Digest digest;
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info.dlpi_phdr[i];
    if (segment.p_type == PT_LOAD && (segment.p_flags & (PF_X | PF_R)) == (PF_X | PF_R))
      digest.add(reinterpret_cast<const void*>(info.dlpi_addr + segment.p_vaddr), segment.p_filesz);
  }
  return digest.result();
}

/// The file that is mapped at `address`: for a library that was loaded by a relative path, whose name means nothing to
/// a process with another working directory.
std::string file_mapped_at(std::uintptr_t address) {
  std::istringstream maps(read_small_file("/proc/self/maps"));
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    const std::size_t path = line.find('/');
    if (address >= begin && address < end && path != line.npos) return line.substr(path);
  }
  return {};
}

std::string path_of_program() {
  std::error_code error;
  const std::string path = std::filesystem::read_symlink("/proc/self/exe", error).native();
  return error ? "the program" : path;
}

Module describe(const dl_phdr_info& info, bool is_program) {
  Module module;
  module.base = info.dlpi_addr;
  module.is_program = is_program;
  module.path = info.dlpi_name == nullptr ? "" : info.dlpi_name;
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info.dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
    const std::uintptr_t begin = info.dlpi_addr + segment.p_vaddr;
    module.code.push_back({begin, begin + segment.p_memsz});
  }
  module.build_id = build_id_of(info);
  return module;
}

/// Called for each module, the program first, under the linker's lock: none can be unloaded meanwhile.
int add_module(dl_phdr_info* info, std::size_t, void* data) {
  auto& snapshot = *static_cast<Snapshot*>(data);
  snapshot.loaded = info->dlpi_adds;
  snapshot.unloaded = info->dlpi_subs;
  snapshot.modules.push_back(describe(*info, snapshot.modules.empty()));
  return 0;
}

int read_counts(dl_phdr_info* info, std::size_t, void* data) {
  auto& snapshot = *static_cast<Snapshot*>(data);
  snapshot.loaded = info->dlpi_adds;
  snapshot.unloaded = info->dlpi_subs;
  return 1;  // The counts are the same with every module: one is enough.
}

}  // namespace

const std::vector<Module>& loaded_modules() {
  Snapshot counts;
  dl_iterate_phdr(read_counts, &counts);
  const Snapshot* known = newest.load(std::memory_order_acquire);  // SYNC(modules)
  if (known != nullptr && known->loaded == counts.loaded && known->unloaded == counts.unloaded) return known->modules;

  // The kernel maps one into every process, which has no file.
  const std::uintptr_t kernels_own = ::getauxval(AT_SYSINFO_EHDR);
  auto fresh = std::make_unique<Snapshot>();
  dl_iterate_phdr(add_module, fresh.get());
  for (Module& module : fresh->modules) {
    if (module.is_program)
      module.path = path_of_program();
    else if (!module.path.starts_with('/') && !module.code.empty() && module.base != kernels_own)
      if (std::string path = file_mapped_at(module.code.front().begin); !path.empty()) module.path = std::move(path);
  }
  fresh->previous = known;
  while (!newest.compare_exchange_weak(fresh->previous, fresh.get(), std::memory_order_acq_rel)) {  // SYNC(modules)
  }
  return fresh.release()->modules;
}

const Module& program_module() {
  static const auto* const program = [] {
    auto* const made = new Module;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* module) {
          *static_cast<Module*>(module) = describe(*info, /*is_program=*/true);
          return 1;  // It is the first one.
        },
        made);
    return made;
  }();
  return *program;
}

std::string to_text(const BuildId& build_id) {
  std::string text;
  for (std::byte byte : build_id) fmt::format_to(std::back_inserter(text), "{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

}  // namespace tandem::detail
