/// What a Value or an Array can hold.
#pragma once

#include <concepts>
#include <type_traits>

#include <tandem/wire.hpp>

namespace tandem {
namespace detail {

// A compiler that refuses a Value prints the concept that failed and the type: so the names are the mends.
template <class T>
concept ShareAPlainObjectNotAConstOrBuiltInArray =
    std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>> && !std::is_array_v<T>;
template <class T>
concept ShareStdArrayNotAContainerThatGrows =
    kRule<T> != Rule::Block && kRule<T> != Rule::Sequence && kRule<T> != Rule::Map && kRule<T> != Rule::ForwardList &&
    kRule<T> != Rule::Adaptor && kRule<T> != Rule::Valarray && kRule<T> != Rule::Path;
template <class T>
concept SendAHandleAsAnArgumentNotInsideSharedData = kRule<T> != Rule::Handle && kRule<T> != Rule::Parts;
// The arena is mapped to whole pages, at different addresses: that far an address is aligned alike in all processes.
template <class T>
concept AlignItToNoMoreThanAPage = alignof(T) <= 4096;
template <class T>
concept ShareAStructOfPlainMembers = kTriviallyPortable<T> && std::copy_constructible<T>;

}  // namespace detail

/// Whether values of T can lie in memory that processes share: trivially copyable, without an address or a handle
/// inside. Numbers, enumerations, structs of such, std::array; text as std::array<char, N>.
template <class T>
concept Shareable =
    Portable<T> && detail::ShareAPlainObjectNotAConstOrBuiltInArray<T> &&
    detail::ShareStdArrayNotAContainerThatGrows<T> && detail::SendAHandleAsAnArgumentNotInsideSharedData<T> &&
    detail::ShareAStructOfPlainMembers<T> && detail::AlignItToNoMoreThanAPage<T>;

}  // namespace tandem
