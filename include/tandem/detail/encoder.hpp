/// Turns values into bytes that another process of the family can turn back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <unordered_set>
#include <vector>

#include <tandem/detail/require.hpp>

namespace tandem::detail {

/// How deeply containers and classes may be nested in each other. Both sides keep it, so that what was sent can be
/// read; it keeps malformed input from exhausting the stack.
inline constexpr int kMaxNesting = 500;

/// Counts one level of nesting while it lives.
class NestingLevel {
 public:
  explicit NestingLevel(int& depth) : depth_(depth) {
    if (++depth_ > kMaxNesting) refuse();
  }
  ~NestingLevel() { --depth_; }
  NestingLevel(const NestingLevel&) = delete;
  NestingLevel& operator=(const NestingLevel&) = delete;

 private:
  [[noreturn]] void refuse();  // Throws WireError.
  int& depth_;
};

/// What Encoder and Fingerprinter have in common: they are archives of cereal. `Archive` is the class derived from it,
/// which has put() for values, put_by_cereal() and write().
template <class Archive>
class OutputArchive : public cereal::OutputArchive<Archive, cereal::AllowEmptyClassElision> {
 public:
  /// Appends values; what cereal-style functions call, in all of cereal's three spellings.
  template <class... Values>
  Archive& operator()(const Values&... values) {
    (self().put(values), ...);
    return self();
  }
  template <class T>
  Archive& operator&(const T& value) {
    return (*this)(value);
  }
  template <class T>
  Archive& operator<<(const T& value) {
    return (*this)(value);
  }

 protected:
  explicit OutputArchive(Archive* self) : cereal::OutputArchive<Archive, cereal::AllowEmptyClassElision>(self) {}

  // What stands for a value in cereal-style functions.
  template <class T>
  void put(const cereal::NameValuePair<T>& pair) {
    self().put(pair.value);
  }
  template <class T>
  void put(const cereal::SizeTag<T>& tag) {
    put_size(tag.size);
  }
  template <class T>
  void put(const cereal::BinaryData<T>& data) {
    self().write(data.data, data.size);
  }
  template <class Key, class Value>
  void put(const cereal::MapItem<Key, Value>& item) {
    self().put(item.key);
    self().put(item.value);
  }
  template <class T>
  void put(const cereal::base_class<T>& base) {
    self().put(*static_cast<const T*>(base.base_ptr));
  }
  template <class T>
  void put(const cereal::virtual_base_class<T>& base) {
    self().put_by_cereal(base);
  }
  template <class T>
  void put(const cereal::DeferredData<T>& deferred) {
    self().put_by_cereal(deferred);
  }
  void put_size(std::uint64_t size) { self().write(&size, sizeof size); }

 private:
  Archive& self() noexcept { return static_cast<Archive&>(*this); }
};

// What cereal itself hands to the archive on the way through a type's functions.
template <class Archive, class T>
void save(OutputArchive<Archive>& archive, const cereal::NameValuePair<T>& pair) {
  archive(pair);
}
template <class Archive, class T>
void save(OutputArchive<Archive>& archive, const cereal::SizeTag<T>& tag) {
  archive(tag);
}
template <class Archive, class T>
void save(OutputArchive<Archive>& archive, const cereal::BinaryData<T>& data) {
  archive(data);
}
template <class Archive, class T>
  requires std::is_arithmetic_v<T>
void save(OutputArchive<Archive>& archive, const T& value) {
  archive(value);
}

/// A growing buffer of bytes, and a cereal archive for the types that bring their own functions. Owner; for one thread.
///
/// Errors: WireError for what cannot be known at compile time (a handle that was moved from, nesting without end, a
/// descriptor in a queue's item, a handle for a stranger). After an error the encoder must be cleared.
class Encoder final : public OutputArchive<Encoder> {
 public:
  enum class Purpose {
    Item,       ///< Of a queue. Any process may read it at any time, so it cannot carry descriptors.
    Arguments,  ///< Of a process: descriptors are passed at its start.
    Message,    ///< Through a pipe, which passes descriptors too.
    Stranger,   ///< To a process that may not be of the family: no descriptors, handles or functions.
  };

  explicit Encoder(Purpose purpose = Purpose::Item) noexcept : OutputArchive(this), purpose_(purpose) {}
  /// Takes over the bytes and what belongs to them. `other` must not be in the middle of a value.
  Encoder(Encoder&& other) noexcept;
  ~Encoder() override;
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// Appends bytes as they are.
  void write(const void* bytes, std::size_t size) {
    if (size > capacity_ - size_) [[unlikely]]
      grow(size);
    if (size != 0) std::memcpy(data_ + size_, bytes, size);
    size_ += size;
  }
  /// Appends zero bytes until the position is a multiple of `alignment`, so that the reader can copy in one go.
  void align(std::size_t alignment);
  /// Appends the object's id and keeps a hold on it until clear(). Throws WireError for null (a handle moved from).
  void refer(const SharedObjectPtr& object);
  /// Appends a descriptor's place among those that travel beside the bytes. Throws WireError where none can.
  void describe_descriptor(int fd);
  /// Appends the address of a function, by module and offset. Throws WireError if it is in no loaded module.
  void write_code(const void* function);

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  /// The objects that the bytes refer to, each once: the message must keep a hold on them.
  const std::vector<SharedObjectPtr>& objects() const noexcept { return objects_; }
  const std::vector<int>& descriptors() const noexcept { return descriptors_; }
  /// Forgets everything but keeps the memory.
  void clear();

 private:
  friend OutputArchive<Encoder>;

  /// Throws WireError if `what` must stay within the family and the bytes are for a stranger.
  void check_for_family(const char* what) const;

  template <class T>
  void put(const T& value);
  using OutputArchive::put;
  template <class T>
  void put_by_cereal(const T& value);
  template <class T>
  void put_elements(const T& range);
  template <class Element>
  void put_block(const Element* first, std::size_t count);

  [[noreturn]] static void throw_valueless();
  void grow(std::size_t more);

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  Purpose purpose_;
  int depth_ = 0;
  // Whether cereal's own memory, of class versions for example, must be renewed by clear().
  bool used_cereal_ = false;
  std::vector<SharedObjectPtr> objects_;
  std::unordered_set<const SharedObject*> known_objects_;  // Used once there are many.
  std::vector<int> descriptors_;
};

/// Reaches the protected container of std::queue, std::stack and std::priority_queue.
template <class Adaptor>
struct AdaptorAccess : Adaptor {
  static typename Adaptor::container_type& container(Adaptor& adaptor) { return adaptor.*&AdaptorAccess::c; }
  static const typename Adaptor::container_type& container(const Adaptor& adaptor) {
    return adaptor.*&AdaptorAccess::c;
  }
};

// ---------------------------------------------------------------------------------------------------------------------
// Implementation

template <class T>
void Encoder::put(const T& value) {
  static_assert(require_portable<T>());
  constexpr Rule rule = kRule<T>;
  if constexpr (!travels(rule) || rule == Rule::Empty) {
    // Refused above, or nothing to say.
  } else if constexpr (rule == Rule::Bytes) {
    write(&value, sizeof value);
  } else if constexpr (rule == Rule::Bool) {
    const std::uint8_t byte = value ? 1 : 0;
    write(&byte, 1);
  } else if constexpr (rule == Rule::Code) {
    write_code(reinterpret_cast<const void*>(value));
  } else if constexpr (rule == Rule::Handle) {
    refer(HandleAccess::object(value));
  } else if constexpr (rule == Rule::Parts) {
    put(HandleAccess::parts(value));
  } else if constexpr (rule == Rule::Product) {
    std::apply([this](const auto&... parts) { (this->put(parts), ...); }, value);
  } else if constexpr (rule == Rule::Optional) {
    put(value.has_value());
    if (value) put(*value);
  } else if constexpr (rule == Rule::Variant) {
    if (value.valueless_by_exception()) throw_valueless();
    put_size(value.index());
    std::visit([this](const auto& alternative) { this->put(alternative); }, value);
  } else if constexpr (rule == Rule::Path) {
    put(value.native());
  } else if constexpr (rule == Rule::Block) {
    put_size(value.size());
    put_block(value.data(), value.size());
  } else if constexpr (rule == Rule::Valarray) {
    put_size(value.size());
    put_block(std::begin(value), value.size());
  } else if constexpr (rule == Rule::Adaptor) {
    put(AdaptorAccess<T>::container(value));
  } else if constexpr (rule == Rule::Cereal) {
    put_by_cereal(value);
  } else if constexpr (rule == Rule::Fixed) {
    put_elements(value);
  } else {
    put_size(static_cast<std::uint64_t>(std::distance(value.begin(), value.end())));
    put_elements(value);
  }
}

template <class T>
void Encoder::put_by_cereal(const T& value) {
  const NestingLevel level(depth_);
  used_cereal_ = true;
  cereal::OutputArchive<Encoder, cereal::AllowEmptyClassElision>::operator()(value);
}

template <class T>
void Encoder::put_elements(const T& range) {
  const NestingLevel level(depth_);
  for (auto&& element : range) {
    const std::size_t before = size_;
    put(static_cast<const std::remove_cvref_t<decltype(*std::begin(range))>&>(element));
    // Each element takes at least one byte, so that the number of elements in malformed input is bounded by its size.
    if (size_ == before) put(std::uint8_t{0});
  }
}

template <class Element>
void Encoder::put_block(const Element* first, std::size_t count) {
  align(alignof(Element));
  write(first, count * sizeof(Element));
}

}  // namespace tandem::detail
