/// What can travel to a process that shares no memory with this one, and the bytes that it travels as.
///
///   struct Job {
///     std::string name;
///     std::vector<double> samples;
///     template <class Archive>
///     void serialize(Archive& archive) { archive(name, samples); }
///   };
///   static_assert(tandem::Portable<Job>);
///
/// docs/reference/wire.md lists what travels; docs/internals/wire.md has the format.
#pragma once

#include <cereal/cereal.hpp>
#include <cereal/types/string.hpp>

#include <tandem/detail/decode_value.hpp>
#include <tandem/detail/encoder.hpp>
#include <tandem/detail/require.hpp>
#include <tandem/error.hpp>

namespace tandem {

/// Whether values of T can travel: numbers, enumerations, classes that are trivially copyable and hold no address,
/// standard containers, strings, tuples, optionals, variants, durations and paths of such, functions, Tandem handles,
/// and classes with cereal-style functions (`serialize`, or `save` and `load`).
///
/// A class that is not an aggregate is trusted not to keep a pointer among its private members: they cannot be seen.
template <class T>
concept Portable =
    detail::SendTheValueNotAPointerToIt<T> && detail::SendStdStringNotCharPointer<T> &&
    detail::SendACopyNotAReference<T> && detail::SendALambdaNotAMemberPointer<T> &&
    detail::SendStdStringNotStringView<T> && detail::SendTheContainerNotAViewOfIt<T> &&
    detail::SendTheValueNotASmartPointerToIt<T> && detail::SendAFunctionNotStdFunction<T> &&
    detail::SendATandemHandleNotAStdLock<T> && detail::PassValuesAsArgumentsNotCaptures<T> &&
    detail::GiveItSerializeSinceItHoldsAnAddress<T> && detail::GiveItSerializeSinceItHasTooManyMembers<T> &&
    detail::GiveItSerializeSinceItCannotBeAssigned<T> && detail::SendWhatThisStandardTypeIsMadeOf<T> &&
    detail::GiveItASerializeMember<T>;

namespace detail {

/// Appends a value.
template <class T>
void encode(Encoder& encoder, const T& value) {
  encoder(value);
}

/// Reads a value. Throws WireError if the bytes are not such a value.
template <class T>
T decode(Decoder& decoder) {
  if constexpr (kRule<T> == Rule::Bytes || kRule<T> == Rule::Empty) {
    return decoder.get<T>();
  } else {
    try {
      return decoder.get<T>();
    } catch (const cereal::Exception& error) {
      throw WireError(error.what());
    }
  }
}

}  // namespace detail
}  // namespace tandem
