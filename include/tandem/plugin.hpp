/// What a shared library includes to bring its own work to `tandem compare plugin LIB.so`.
#pragma once

#include <string>
#include <vector>

#include <tandem/compare.hpp>
#include <tandem/detail/plugin_note.hpp>

namespace tandem {

/// The one function that a plugin defines: makes the work from the arguments that follow LIB.so on the command line.
///
///   #include <tandem/plugin.hpp>
///   tandem::Workload tandem::plugin(const std::vector<std::string>& arguments) {
///     return tandem::workload("primes", split, part, combine);
///   }
///
///   g++ -std=c++20 -O2 -shared -fPIC primes.cpp -o primes.so     # Tandem itself comes from the tool
///   tandem compare plugin ./primes.so 1000000
///
/// This header also puts a note of how the library was built into it: the tool refuses one that does not fit.
/// Errors: what it throws is bad input, reported with its text: exit code 2.
Workload plugin(const std::vector<std::string>& arguments);

namespace detail {
// Not inline: it stays this library's own even where another plugin is loaded.
static const PluginNote kPluginNote = {.make = &plugin};
}  // namespace detail
}  // namespace tandem

extern "C" [[gnu::used, gnu::visibility("default")]] inline const tandem::detail::PluginNote* tandem_plugin_note() {
  return &tandem::detail::kPluginNote;
}
