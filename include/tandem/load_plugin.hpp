/// Loading work from shared libraries.
#pragma once

#include <string>
#include <vector>

#include <tandem/compare.hpp>
#include <tandem/error.hpp>

namespace tandem {

/// A shared library that is no plugin, or one of another build. The text names it and says what is wrong.
class PluginRefused : public Error {
 public:
  using Error::Error;
};

/// Loads a shared library that includes plugin.hpp and gives the work that its one function makes of `arguments`. The
/// library stays loaded until the program ends; worker processes load it themselves.
/// Errors: PluginRefused, before anything but the library's static constructors has run; what its function throws.
Workload load_plugin(const std::string& path, const std::vector<std::string>& arguments);

}  // namespace tandem
