/// How each kind of value is made out of a Decoder's bytes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <tandem/detail/decoder.hpp>

namespace tandem::detail {

/// Reads std::pair and std::tuple part by part; a const part, such as a map's key, as a plain one.
template <class T>
struct ProductReader;
template <class A, class B>
struct ProductReader<std::pair<A, B>> {
  static std::pair<A, B> read(Decoder& decoder) {
    // Braces: the parts are read in order.
    return std::pair<A, B>{decoder.get<std::remove_cv_t<A>>(), decoder.get<std::remove_cv_t<B>>()};
  }
};
template <class... Ts>
struct ProductReader<std::tuple<Ts...>> {
  static std::tuple<Ts...> read(Decoder& decoder) { return std::tuple<Ts...>{decoder.get<std::remove_cv_t<Ts>>()...}; }
};

template <class T>
T Decoder::get() {
  static_assert(require_portable<T>());
  constexpr Rule rule = kRule<T>;
  if constexpr (!travels(rule)) {
    std::terminate();  // Never compiled into a program: refused above.
  } else if constexpr (rule == Rule::Empty) {
    if constexpr (std::is_default_constructible_v<T>)
      return T{};
    else
      return std::bit_cast<T>(std::byte{});
  } else if constexpr (rule == Rule::Bytes) {
    if constexpr (std::is_default_constructible_v<T>) {
      T value;
      read(static_cast<void*>(&value), sizeof value);
      return value;
    } else {
      std::array<std::byte, sizeof(T)> bytes;
      read(bytes.data(), bytes.size());
      return std::bit_cast<T>(bytes);
    }
  } else if constexpr (rule == Rule::Bool) {
    const auto byte = get<std::uint8_t>();
    if (byte > 1) throw_bad_value("bool");
    return byte == 1;
  } else if constexpr (rule == Rule::Code) {
    return reinterpret_cast<T>(read_code());
  } else if constexpr (rule == Rule::Handle) {
    return HandleAccess::make<T>(refer(HandleAccess::kind<T>()));
  } else if constexpr (rule == Rule::Parts) {
    return HandleAccess::make_of<T>(get<PartsOfHandle<T>>());
  } else if constexpr (rule == Rule::Product) {
    return ProductReader<T>::read(*this);
  } else if constexpr (rule == Rule::Optional) {
    return get<bool>() ? T(get<std::remove_cv_t<typename T::value_type>>()) : T();
  } else if constexpr (rule == Rule::Variant) {
    return get_variant<T>(get_size());
  } else if constexpr (rule == Rule::Path) {
    return T(get<typename T::string_type>());
  } else if constexpr (rule == Rule::Block || rule == Rule::Valarray) {
    return get_block<T>();
  } else if constexpr (rule == Rule::Adaptor) {
    T adaptor;
    AdaptorAccess<T>::container(adaptor) = get<typename T::container_type>();
    return adaptor;
  } else if constexpr (rule == Rule::Cereal) {
    if constexpr (std::is_default_constructible_v<T>) {
      T value{};
      get_by_cereal(value);
      return value;
    } else {
      // The default constructor may be private with cereal::access as a friend. cereal's message says so if there is
      // none.
      const std::unique_ptr<T> value(cereal::access::construct<T>());
      get_by_cereal(*value);
      return std::move(*value);
    }
  } else if constexpr (rule == Rule::Fixed) {
    const NestingLevel level(depth_);
    return get_fixed<T>(std::make_index_sequence<std::tuple_size_v<T>>());
  } else if constexpr (rule == Rule::ForwardList) {
    const NestingLevel level(depth_);
    T list;
    auto last = list.before_begin();
    for (std::uint64_t left = get_count(); left != 0; --left)
      last = list.insert_after(last, get_element<typename T::value_type>());
    return list;
  } else {
    return get_sequence<T>();
  }
}

template <class T>
void Decoder::get_into(T& target) {
  if constexpr (std::is_array_v<T>) {
    static_assert(require_portable<T>());
    if constexpr (kRule<T> == Rule::Bytes) {
      read(&target, sizeof target);
    } else {
      const NestingLevel level(depth_);
      for (auto& element : target) element = get_element<std::remove_extent_t<T>>();
    }
  } else if constexpr (kRule<T> == Rule::Cereal) {
    get_by_cereal(target);
  } else if constexpr (kRule<T> != Rule::Empty) {
    // Assigned rather than copied over: `target` may be a base whose padding holds members of the derived class.
    target = get<T>();
  } else {
    static_assert(require_portable<T>());
  }
}

template <class T>
void Decoder::get_by_cereal(T& target) {
  const NestingLevel level(depth_);
  Archive::operator()(target);
}

template <class T>
T Decoder::get_element() {
  const std::byte* const before = position_;
  T element = get<T>();
  if (position_ == before) take(1);
  return element;
}

template <class T, std::size_t kIndex>
T Decoder::get_variant(std::uint64_t index) {
  if constexpr (kIndex == std::variant_size_v<T>) {
    throw_bad_value("std::variant");
  } else {
    if (index != kIndex) return get_variant<T, kIndex + 1>(index);
    return T(std::in_place_index<kIndex>, get<std::remove_cv_t<std::variant_alternative_t<kIndex, T>>>());
  }
}

template <class T, std::size_t... kIndices>
T Decoder::get_fixed(std::index_sequence<kIndices...>) {
  return T{(static_cast<void>(kIndices), get_element<typename T::value_type>())...};
}

template <class Element>
std::span<const Element> Decoder::view_block() {
  const std::uint64_t count = get_size();
  align(alignof(Element));
  if (count > remaining() / sizeof(Element)) throw_cut_short(count);
  return {reinterpret_cast<const Element*>(take(count * sizeof(Element))), count};
}

template <class T>
T Decoder::get_block() {
  using Element = typename T::value_type;
  const std::span<const Element> elements = view_block<Element>();
  const std::size_t count = elements.size();
  const auto* const bytes = reinterpret_cast<const std::byte*>(elements.data());
  // One pass over the memory where alignment allows: for large blocks, zeroing it first costs as much as the copy.
  if constexpr (requires(T& block, const Element* first) { block.assign(first, first); }) {
    if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(Element) == 0) {
      const Element* const first = reinterpret_cast<const Element*>(bytes);
      return T(first, first + count);
    }
  }
  T block;
  block.resize(count);
  if (count != 0) std::memcpy(&block[0], bytes, count * sizeof(Element));
  return block;
}

template <class T>
T Decoder::get_sequence() {
  const NestingLevel level(depth_);
  using Element = typename T::value_type;
  T container;
  const std::uint64_t count = get_count();
  // Not more than the bytes could fill: what is claimed and not there must not be allocated either.
  if constexpr (requires { container.reserve(1); })
    container.reserve(std::min<std::uint64_t>(count, remaining() / sizeof(Element) + 1));
  for (std::uint64_t i = 0; i < count; ++i) {
    if constexpr (kRule<T> == Rule::Map) {
      const std::byte* const before = position_;
      auto key = get<typename T::key_type>();
      auto value = get<typename T::mapped_type>();
      if (position_ == before) take(1);
      container.emplace_hint(container.end(), std::move(key), std::move(value));
    } else {
      container.insert(container.end(), get_element<Element>());
    }
  }
  return container;
}

}  // namespace tandem::detail
