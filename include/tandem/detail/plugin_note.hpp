/// The note about its build that every plugin carries, and by which one that does not fit is refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tandem/compare.hpp>
#include <tandem/version.hpp>

namespace tandem::detail {

/// What must be the same on both sides: versions, and the sizes of what passes between them, which tell two states of
/// one version apart.
struct PluginBuild {
  // The versions come first in every version's note, so that each can name the other.
  std::uint32_t tandem_major = TANDEM_VERSION_MAJOR;
  std::uint32_t tandem_minor = TANDEM_VERSION_MINOR;
  std::uint32_t tandem_patch = TANDEM_VERSION_PATCH;
  std::uint32_t standard_library = _GLIBCXX_RELEASE;
  std::uint32_t standard_library_abi = _GLIBCXX_USE_CXX11_ABI;
  std::uint32_t workload_bytes = sizeof(Workload);
  std::uint32_t worker_bytes = sizeof(Process) + sizeof(ProcessOptions) + sizeof(Thread) + sizeof(ThreadOptions);
  std::uint32_t wire_bytes = sizeof(Encoder) + sizeof(Decoder) + sizeof(Queue<int>);

  friend bool operator==(const PluginBuild&, const PluginBuild&) = default;
};

/// What a plugin says of itself. The order of its members never changes.
struct PluginNote {
  std::uint32_t build_bytes = sizeof(PluginBuild);
  PluginBuild build{};
  Workload (*make)(const std::vector<std::string>& arguments) = nullptr;
};

/// The function of a plugin that gives its note, and its name in the shared library.
using PluginNoteFunction = const PluginNote*();
inline constexpr const char* kPluginNoteName = "tandem_plugin_note";

}  // namespace tandem::detail
