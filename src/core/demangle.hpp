/// Readable names of types and functions.
#pragma once

#include <string>
#include <string_view>

namespace tandem::detail {

/// Turns the linker's name of a function, or type_info's of a type, into what the programmer wrote; other names come
/// back as they are.
std::string demangle(const char* name);

/// The bare qualified name within a readable function name: without result type, parameters and template arguments.
std::string_view bare_function_name(std::string_view name);

}  // namespace tandem::detail
