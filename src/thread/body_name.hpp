/// A readable name for what a thread runs.
#pragma once

#include <string>
#include <typeinfo>

namespace tandem::detail {

/// The name of the function at `function`, without namespaces and arguments. Empty if it has no symbol. Takes
/// milliseconds the first time that a file's symbols are read, and microseconds afterwards.
std::string function_name(const void* function);

/// The name of a callable's class, without namespaces and template arguments. Empty if it says nothing: a lambda, a
/// class of the standard library.
std::string class_name(const std::type_info& type);

}  // namespace tandem::detail
