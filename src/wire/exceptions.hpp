/// Carries an exception from the process where it was thrown to the one that must hear of it.
#pragma once

#include <cstddef>
#include <exception>
#include <span>
#include <vector>

namespace tandem::detail {

/// Turns an exception into bytes. Null is allowed and comes back as null.
std::vector<std::byte> encode_exception(const std::exception_ptr& exception);

/// Makes the exception again: those of the standard library and Tandem's own as their own type with their text and
/// error code; all others, also types derived from those, as RemoteError with the name of their type and their text.
/// Throws WireError if the bytes are no exception.
std::exception_ptr decode_exception(std::span<const std::byte> bytes);

}  // namespace tandem::detail
