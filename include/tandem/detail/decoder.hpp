/// Turns bytes back into values, trusting nothing about the bytes. decode_value.hpp has the values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <tandem/detail/encoder.hpp>

namespace tandem::detail {

/// Objects here for names that another machine gave to its own.
using StandIns = std::vector<std::pair<ObjectId, SharedObjectPtr>>;

/// Reads what an Encoder wrote, in the same order. It refers to the bytes and does not copy them; for one thread.
///
/// Errors: WireError for bytes that are no such values: cut short, impossible counts, values that their type does not
/// have. Nothing is ever read outside of the bytes, and no more memory is taken than a small multiple of their size.
/// What an attribute of a type cannot tell is not checked: an enumerator out of range, a bool or an enumerator inside
/// of a class that is copied as bytes.
class Decoder final : public cereal::InputArchive<Decoder, cereal::AllowEmptyClassElision> {
  using Archive = cereal::InputArchive<Decoder, cereal::AllowEmptyClassElision>;

 public:
  /// Who wrote the bytes. What comes from a stranger may name neither functions nor shared objects of this process.
  enum class Writer { Family, Stranger };

  /// `descriptors`: those that came beside the bytes; the decoder does not close the ones that are not taken.
  explicit Decoder(std::span<const std::byte> bytes, std::span<const int> descriptors = {},
                   Writer writer = Writer::Family) noexcept
      : Archive(this),
        begin_(bytes.data()),
        position_(begin_),
        end_(begin_ + bytes.size()),
        descriptors_(descriptors),
        writer_(writer) {}
  Decoder(const std::byte* bytes, std::size_t size) noexcept : Decoder(std::span(bytes, size)) {}
  ~Decoder() override;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Reads into existing variables; what cereal-style functions call, in all of cereal's three spellings.
  template <class... Values>
  Decoder& operator()(Values&&... values) {
    (get_into(values), ...);
    return *this;
  }
  template <class T>
  Decoder& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  Decoder& operator>>(T&& value) {
    return (*this)(value);
  }

  /// Reads a value. T needs no default constructor unless it travels by cereal-style functions.
  template <class T>
  T get();

  /// Reads elements of plain bytes in place: what a std::vector of them or a std::string became. They must lie aligned
  /// in the bytes.
  template <class Element>
  std::span<const Element> view_block();

  /// Reads bytes as they are.
  void read(void* bytes, std::size_t size) {
    if (size != 0) std::memcpy(bytes, take(size), size);
  }
  /// Skips what Encoder::align() added.
  void align(std::size_t alignment);
  /// Reads an object's id and takes a hold on it. Throws StaleHandle if it is gone or of another kind.
  SharedObjectPtr refer(ObjectKind kind);
  /// The bytes come from another machine: what they call by these names are these objects here, all of the kind
  /// Broadcast; they may refer to no others. `foreign` must outlive the decoder.
  void stand_in(const StandIns& foreign) noexcept { stand_ins_ = &foreign; }
  /// Reads a descriptor's place and hands the descriptor over to the caller; each can be taken once.
  int take_descriptor();
  /// Whether a descriptor was taken.
  bool has_taken(std::size_t index) const { return index < taken_.size() && taken_[index]; }
  /// Reads the address of a function of this process, loading its module if it must.
  void* read_code();

  std::size_t remaining() const noexcept { return static_cast<std::size_t>(end_ - position_); }
  /// Throws WireError if there are bytes left: they would be of another type than was asked for.
  void expect_end() const;

 private:
  template <class T>
  void get_into(T& target);
  template <class T>
  void get_into(cereal::NameValuePair<T>& pair) {
    get_into(pair.value);
  }
  template <class T>
  void get_into(cereal::SizeTag<T>& tag) {
    tag.size = static_cast<std::remove_cvref_t<decltype(tag.size)>>(get_count());
  }
  template <class T>
  void get_into(cereal::BinaryData<T>& data) {
    read(data.data, data.size);
  }
  template <class Key, class Value>
  void get_into(cereal::MapItem<Key, Value>& item) {
    get_into(item.key);
    get_into(item.value);
  }
  template <class T>
  void get_into(cereal::base_class<T>& base) {
    get_into(*base.base_ptr);
  }
  template <class T>
  void get_into(cereal::virtual_base_class<T>& base) {
    get_by_cereal(base);
  }
  template <class T>
  void get_into(cereal::DeferredData<T>& deferred) {
    get_by_cereal(deferred);
  }
  template <class T>
  void get_by_cereal(T& target);
  template <class T>
  T get_element();
  template <class T, std::size_t kIndex = 0>
  T get_variant(std::uint64_t index);
  template <class T>
  T get_block();
  template <class T>
  T get_sequence();
  template <class T, std::size_t... kIndices>
  T get_fixed(std::index_sequence<kIndices...>);

  /// Reads the number of elements of a container, each of which takes at least one byte.
  std::uint64_t get_count();
  std::uint64_t get_size();
  const std::byte* take(std::size_t size) {
    if (size > remaining()) [[unlikely]]
      throw_cut_short(size);
    return std::exchange(position_, position_ + size);
  }
  [[noreturn]] void throw_cut_short(std::size_t wanted) const;
  [[noreturn]] static void throw_bad_value(const char* what);
  /// Throws WireError if `what` must come from the family and the bytes do not.
  void check_from_family(const char* what) const;

  const std::byte* begin_;
  const std::byte* position_;
  const std::byte* end_;
  std::span<const int> descriptors_;
  std::vector<bool> taken_;  // Of the descriptors.
  Writer writer_;
  const StandIns* stand_ins_ = nullptr;
  int depth_ = 0;
};

template <class T>
void load(Decoder& decoder, cereal::NameValuePair<T>& pair) {
  decoder(pair);
}
template <class T>
void load(Decoder& decoder, cereal::SizeTag<T>& tag) {
  decoder(tag);
}
template <class T>
void load(Decoder& decoder, cereal::BinaryData<T>& data) {
  decoder(data);
}
template <class T>
  requires std::is_arithmetic_v<T>
void load(Decoder& decoder, T& value) {
  decoder(value);
}

}  // namespace tandem::detail

// cereal's minimal functions need to know which archives belong together.
CEREAL_SETUP_ARCHIVE_TRAITS(tandem::detail::Decoder, tandem::detail::Encoder)
