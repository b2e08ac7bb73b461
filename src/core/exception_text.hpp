/// What there is to say about an exception, as text.
#pragma once

#include <exception>
#include <string>

namespace tandem::detail {

struct ExceptionInfo {
  /// As the programmer wrote it, for example "my::ParseError". Empty for no exception at all.
  std::string type_name;
  /// what(), then "; caused by TYPE: TEXT" for each exception nested within. A string or a number that was thrown
  /// itself is its own text; empty for other types.
  std::string what;
  /// Where it was thrown, as text(StackTrace); empty if it was not thrown through a ThrowStackScope that the calling
  /// thread is in.
  std::string stack;
};

/// Describes any exception, of any type. Never throws what it describes; std::bad_alloc is possible.
/// Cost: some microseconds without a stack; for its text see text(StackTrace).
ExceptionInfo describe_exception(const std::exception_ptr& exception);

}  // namespace tandem::detail
