/// An item of a Queue, looked at where it lies.
#pragma once

#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/detail/ring_queue_core.hpp>
#include <tandem/wire.hpp>

namespace tandem {
namespace detail {

/// What an item of type T looks like in place; void if it does not lie there as it is used.
template <class T>
struct InPlace {
  using type = std::conditional_t<kTriviallyPortable<T> && alignof(T) <= 8, const T&, void>;
};
template <>
struct InPlace<std::string> {
  using type = std::string_view;
};
template <class Element>
  requires(kTriviallyPortable<Element> && !std::same_as<Element, bool> && alignof(Element) <= 8)
struct InPlace<std::vector<Element>> {
  using type = std::span<const Element>;
};

/// Must hold: an item of type T can be looked at where it lies: it is trivially copyable, a std::string, or a
/// std::vector of what is trivially copyable. Mend: get() the item, or put one of those.
template <class T>
concept GiveAnItemThatLiesInOnePiece = !std::is_void_v<typename InPlace<T>::type>;

}  // namespace detail

/// An item of a Queue where it lies in the family's memory, not copied; the item is taken when this is dropped. Owner:
/// move-only.
///
///   tandem::Queue<std::vector<float>> images;
///   if (auto image = images.get_view()) show(*image);      // *image is a std::span<const float>
///
/// `*view` is a `const T&` of a trivially copyable T, a std::string_view of a std::string, a std::span<const E> of a
/// std::vector<E>; valid as long as the view is.
///
/// Threads and processes: for the thread that took it, which must not end before it is dropped. Others take the items
/// behind it meanwhile, and this thread may, too.
/// Killed peers: as with get(): if the process is killed before the view is dropped, the item goes to another.
/// Cost: no lock and no copy; the item is claimed as get() claims it. Worth it from some KiB on.
template <class T>
class QueueView {
  static_assert(detail::GiveAnItemThatLiesInOnePiece<T>);

 public:
  using value_type = typename detail::InPlace<T>::type;

  /// None: what get_view_for() and try_get_view() give when there was no item.
  QueueView() = default;

  /// Whether there is an item.
  explicit operator bool() const noexcept { return item_.has_value(); }
  /// The item. There must be one.
  value_type operator*() const { return read(); }
  const std::remove_reference_t<value_type>* operator->() const
    requires std::is_reference_v<value_type>
  {
    return &read();
  }
  /// Takes the item; there is none behind that.
  void drop() { item_.drop(); }

 private:
  template <Portable Item>
  friend class Queue;
  explicit QueueView(detail::LentItem item) : item_(std::move(item)) { static_cast<void>(read()); }

  value_type read() const {
    const std::span<const std::byte> bytes = item_.view().bytes;
    if constexpr (std::is_reference_v<value_type>) {
      if (bytes.size() != sizeof(T)) throw WireError("an item of the queue has another size than its type");
      return *reinterpret_cast<const T*>(bytes.data());
    } else {
      detail::Decoder decoder(bytes);
      const auto elements = decoder.template view_block<typename T::value_type>();
      return {elements.data(), elements.size()};
    }
  }

  detail::LentItem item_;
};

}  // namespace tandem
