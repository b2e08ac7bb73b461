/// Tells values apart across runs of a program: the same value has the same fingerprint tomorrow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <tandem/wire.hpp>

namespace tandem::detail {

/// 128 bits of a SHA-256 digest: two values that differ have the same with a probability nobody will meet.
using Fingerprint = std::array<std::byte, 16>;

Fingerprint digest_of(std::span<const std::byte> bytes) noexcept;
std::string to_text(const Fingerprint& fingerprint);

/// Collects what makes up a value, as an Encoder does, but without the bytes that have no meaning: those between the
/// members of a class differ from run to run. A cereal archive, for the types that bring their own functions. For one
/// thread.
///
/// Errors: WireError for what means nothing to another run: handles, descriptors, functions.
/// With clang, which has no builtin for it, the bytes between the members of a class that is copied as a whole count.
class Fingerprinter final : public OutputArchive<Fingerprinter> {
 public:
  Fingerprinter() : OutputArchive(this) {}
  ~Fingerprinter() override = default;
  Fingerprint result() const noexcept { return digest_of(bytes_.bytes()); }

 private:
  friend OutputArchive<Fingerprinter>;

  template <class T>
  void put(const T& value);
  using OutputArchive::put;
  template <class T>
  void put_by_cereal(const T& value) {
    cereal::OutputArchive<Fingerprinter, cereal::AllowEmptyClassElision>::operator()(value);
  }
  void write(const void* bytes, std::size_t size) { bytes_.write(bytes, size); }
  template <class T>
  void put_memory(const T& value);
  template <class Range>
  void put_elements(const Range& range) {
    for (auto&& element : range) put(static_cast<const std::remove_cvref_t<decltype(*std::begin(range))>&>(element));
  }

  Encoder bytes_{Encoder::Purpose::Stranger};
};

/// The fingerprint of values that travel.
template <class... Values>
Fingerprint fingerprint_of(const Values&... values) {
  Fingerprinter fingerprinter;
  fingerprinter(values...);
  return fingerprinter.result();
}

// ---------------------------------------------------------------------------------------------------------------------
// Implementation

template <class T>
void Fingerprinter::put(const T& value) {
  constexpr Rule rule = kRule<T>;
  if constexpr (rule == Rule::Bytes) {
    put_memory(value);
  } else if constexpr (rule == Rule::Product) {
    std::apply([this](const auto&... parts) { (this->put(parts), ...); }, value);
  } else if constexpr (rule == Rule::Optional) {
    put(value.has_value());
    if (value) put(*value);
  } else if constexpr (rule == Rule::Variant) {
    put_size(value.index());
    std::visit([this](const auto& alternative) { this->put(alternative); }, value);
  } else if constexpr (rule == Rule::Block || rule == Rule::Sequence || rule == Rule::Map ||
                       rule == Rule::ForwardList || rule == Rule::Valarray) {
    put_size(static_cast<std::uint64_t>(std::distance(std::begin(value), std::end(value))));
    put_elements(value);
  } else if constexpr (rule == Rule::Fixed) {
    put_elements(value);
  } else if constexpr (rule == Rule::Adaptor) {
    put(AdaptorAccess<T>::container(value));
  } else if constexpr (rule == Rule::Cereal) {
    put_by_cereal(value);
  } else if constexpr (travels(rule)) {
    bytes_(value);
  }
}

template <class T>
void Fingerprinter::put_memory(const T& value) {
  if constexpr (std::is_array_v<T>) {
    put_elements(value);
  } else if constexpr (std::has_unique_object_representations_v<T> || std::is_same_v<T, float> ||
                       std::is_same_v<T, double>) {
    bytes_.write(&value, sizeof value);
  } else {
    T copy(value);
#if defined(__GNUC__) && !defined(__clang__)
    __builtin_clear_padding(std::addressof(copy));
#endif
    bytes_.write(&copy, sizeof copy);
  }
}

}  // namespace tandem::detail
