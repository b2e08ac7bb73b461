#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <tandem/detail/plugin_note.hpp>
#include <tandem/load_plugin.hpp>

namespace tandem {
namespace {

using detail::PluginBuild;
using detail::PluginNote;

std::string describe(const PluginBuild& build) {
  return fmt::format("tandem {}.{}.{} with libstdc++ {}{}", build.tandem_major, build.tandem_minor, build.tandem_patch,
                     build.standard_library, build.standard_library_abi == 1 ? "" : " (old ABI)");
}

void check_build(const std::string& path, const PluginNote& note) {
  const PluginBuild ours;
  if (note.build_bytes == sizeof(PluginBuild) && note.build == ours) return;
  const std::string theirs = describe(note.build);
  if (theirs == describe(ours))
    throw PluginRefused(fmt::format(
        "{}: a plugin of another build: both are of {}, but of different headers; build it again", path, theirs));
  throw PluginRefused(fmt::format("{}: a plugin of another build: made for {}, not for {}; build it again", path,
                                  theirs, describe(ours)));
}

void* open_library(const std::string& path, const std::string& absolute, int mode) {
  if (void* const library = ::dlopen(absolute.c_str(), mode | RTLD_LOCAL)) return library;
  std::string reason = ::dlerror();
  // The loader begins with the path, which the text has already.
  if (reason.starts_with(absolute + ": ")) reason.erase(0, absolute.size() + 2);
  throw PluginRefused(fmt::format("{}: cannot be loaded: {}", path, reason));
}

}  // namespace

Workload load_plugin(const std::string& path, const std::vector<std::string>& arguments) {
  // Absolute: a worker process loads it again by the name under which it was loaded here.
  const std::string absolute = std::filesystem::absolute(path).lexically_normal().string();
  // Lazily at first, so that a plugin of another version can say so before a function that it misses is looked for.
  void* const library = open_library(path, absolute, RTLD_LAZY);
  void* const symbol = ::dlsym(library, detail::kPluginNoteName);
  if (symbol == nullptr)
    throw PluginRefused(
        fmt::format("{}: is not a plugin: it does not define tandem::plugin() of <tandem/plugin.hpp>", path));
  const PluginNote& note = *reinterpret_cast<detail::PluginNoteFunction*>(symbol)();
  check_build(path, note);
  open_library(path, absolute, RTLD_NOW);
  return note.make(arguments);
}

}  // namespace tandem
