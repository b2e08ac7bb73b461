/// A value that many tasks read, which goes to each place once.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <tandem/detail/broadcast_state.hpp>
#include <tandem/error.hpp>
#include <tandem/wire.hpp>

namespace tandem {

/// A constant value for many tasks, sent once to each place instead of with each task. Handle: copies refer to one
/// value.
///
///   const tandem::Broadcast<Table> table(load_table());
///   std::vector<tandem::Future<double>> prices;
///   for (const Order& order : orders) prices.push_back(executor.submit(price, table, order));
///   // double price(const tandem::Broadcast<Table>& table, const Order& order);     table->at(order.item)
///   // double price(const Table& table, const Order& order);                        will do, too
///
/// The same for a ThreadExecutor, whose tasks all see the one value; for a ProcessExecutor and a Process, each of
/// whose processes decodes it at its first use out of one copy in shared memory; and for a ClusterExecutor, which
/// sends it to each node once, before the first task there that has it. A handle may be an argument or part of one,
/// in an item of a Queue, or an argument of an initializer. What a task in a cluster gives back has none.
///
/// Threads and processes: get() may be called at once from any thread of any process of the family. In places other
/// than threads each process has a copy of its own, and tasks in it share that: T's const members must be fit for it.
/// Lifetime: the value lives as long as a handle to it, anywhere, or a task that has one. A worker process remembers
/// what it decoded for its later tasks: the 16 values that it used last, each until it decodes another one behind the
/// end of that one. An agent of a cluster keeps up to 1 GiB of values that no task uses (TANDEM_AGENT_CACHE_MIB). A
/// node that comes later or was started again gets it when it needs it.
/// Killed peers: as a message of a Queue; nothing is left of it when its holders are gone, however they went.
/// Errors: WireError from whatever sends it if it cannot be encoded, and from get() if it cannot be decoded, each
/// time; StaleHandle if it has none or was moved from; std::system_error if the arena is full. In a cluster, a value
/// that has handles in it, another Broadcast included, is refused by submit() with WireError. Cost: nothing for
/// threads. One encoding at its first use elsewhere, and memory for the bytes beside the value; for each task a word;
/// for each process one decoding and memory for its copy. In a cluster the bytes pass the server once, and once more to
/// each node.
template <class T>
class Broadcast {
 public:
  using value_type = T;

  /// Has no value yet, for classes that have one as a member and are read by functions of their own.
  Broadcast() noexcept = default;
  explicit Broadcast(T value)
      : state_(std::make_shared<detail::BroadcastState>(type(), std::make_shared<const T>(std::move(value)))) {
    static_assert(std::is_same_v<T, std::decay_t<T>>, "a Broadcast has a value, not a reference or an array");
    static_assert(detail::require_portable<T>());
  }

  /// The value: the same one for every handle in this process, and valid as long as one of them.
  [[nodiscard]] const T& get() const { return *static_cast<const T*>(state().value()); }
  const T& operator*() const { return get(); }
  const T* operator->() const { return &get(); }
  /// So that a function that takes the value itself can be called with a Broadcast of it.
  operator const T&() const { return get(); }

 private:
  friend struct detail::HandleAccess;
  static constexpr detail::ObjectKind kObjectKind = detail::ObjectKind::Broadcast;
  explicit Broadcast(detail::SharedObjectPtr object)
      : state_(std::make_shared<detail::BroadcastState>(type(), std::move(object))) {}
  const detail::SharedObjectPtr& shared_object() const { return state().object(); }

  detail::BroadcastState& state() const {
    if (state_ == nullptr) throw StaleHandle("this Broadcast has no value, or was moved from");
    return *state_;
  }
  static const detail::BroadcastType& type() {
    static const detail::BroadcastType made{
        [](detail::Encoder& encoder, const void* value) { detail::encode(encoder, *static_cast<const T*>(value)); },
        [](detail::Decoder& decoder) -> std::shared_ptr<const void> {
          auto value = std::make_shared<const T>(detail::decode<T>(decoder));
          decoder.expect_end();
          return value;
        },
        typeid(T)};
    return made;
  }

  std::shared_ptr<detail::BroadcastState> state_;
};

}  // namespace tandem
