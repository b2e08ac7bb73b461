/// How a call becomes a task that leaves this process.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/callable.hpp>
#include <tandem/detail/chunk.hpp>
#include <tandem/detail/local_call.hpp>
#include <tandem/detail/remote_task.hpp>

namespace tandem::detail {

template <class F>
inline constexpr bool kIsFunctionPointer = std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>;

/// A plain function travels as a number beside the arguments, anything else as the first of them.
template <class F>
void encode_callable(Encoder& encoder, const F& fn) {
  if constexpr (!kIsFunctionPointer<F>) encode(encoder, fn);
}
template <class F>
F decode_callable(const void* function, Decoder& decoder) {
  if constexpr (kIsFunctionPointer<F>) {
    return reinterpret_cast<F>(const_cast<void*>(function));
  } else {
    return decode<F>(decoder);
  }
}

template <class F, class... Args>
decltype(auto) invoke_remote(F&& fn, Args&&... args) {
  if constexpr (kTakesStopToken<F, Args...>) {
    return std::invoke(std::forward<F>(fn), std::stop_token(), std::forward<Args>(args)...);
  } else {
    return std::invoke(std::forward<F>(fn), std::forward<Args>(args)...);
  }
}

/// The RemoteEntry of a call. The arguments are destroyed before the result is sent.
template <class R, class F, class... Args>
void enter_remote_call(const void* function, Decoder& decoder, Encoder& encoder) {
  const auto call = [&]() -> R {
    // Braces: decoded in this order, which is that in which they were encoded.
    std::tuple<F, Args...> all{decode_callable<F>(function, decoder), decode<Args>(decoder)...};
    decoder.expect_end();
    return std::apply([](F& fn, Args&... args) -> R { return invoke_remote(std::move(fn), std::move(args)...); }, all);
  };
  if constexpr (std::is_void_v<R>) {
    call();
  } else {
    encode(encoder, call());
  }
}

template <class R, class F, class... Args>
class RemoteCall final : public ResultState<R>, public RemoteTask {
 public:
  using State = ResultState<R>;
  explicit RemoteCall(const F& fn, const Args&... args)
      : ResultState<R>(static_cast<RemoteTask*>(this)),
        RemoteTask(static_cast<FutureState&>(*this), &enter_remote_call<R, F, Args...>, function_of(fn)) {
    const EncoderLease lease;
    encode_callable(*lease, fn);
    (encode(*lease, args), ...);
    payload_.assign(*lease);
  }

  FutureState::Outcome take_result(Decoder& result) noexcept override {
    try {
      if constexpr (std::is_void_v<R>) {
        return this->store();
      } else {
        const FutureState::Outcome outcome = this->store(decode<R>(result));
        result.expect_end();
        return outcome;
      }
    } catch (...) {
      this->write_error(decoding_error());
      return FutureState::Outcome::Error;
    }
  }
  const std::type_info& callable_type() const noexcept override { return typeid(F); }

 private:
  ~RemoteCall() override = default;
};

/// Items of a chunk as they travel: column by column where they are plain bytes, so that each column is one copy.
template <class Item, class Indices = std::make_index_sequence<std::tuple_size_v<Item>>>
struct ItemColumns;
template <class Item, std::size_t... I>
struct ItemColumns<Item, std::index_sequence<I...>> {
  template <std::size_t kIndex>
  using Value = std::remove_cvref_t<std::tuple_element_t<kIndex, Item>>;
  // std::vector<bool> has no bytes of its own.
  static constexpr bool kPlain =
      ((kTriviallyPortable<Value<I>> && std::is_default_constructible_v<Value<I>> && !std::same_as<Value<I>, bool>) &&
       ...) &&
      sizeof...(I) > 0;

  static void encode_all(Encoder& encoder, const std::vector<Item>& items) {
    if constexpr (kPlain) {
      encode(encoder, static_cast<std::uint64_t>(items.size()));
      (encode_column<I>(encoder, items), ...);
    } else {
      encode(encoder, items);
    }
  }
  /// Decodes the items and calls `each(item arguments...)` for one after the other.
  template <class Each>
  static void for_all(Decoder& decoder, Each each) {
    if constexpr (kPlain) {
      const auto count = decode<std::uint64_t>(decoder);
      if (count > decoder.remaining()) throw WireError("a chunk of a map is cut short");
      const std::tuple<std::vector<Value<I>>...> columns{decode_column<I>(decoder, count)...};
      decoder.expect_end();
      for (std::uint64_t at = 0; at < count; ++at) each(at, std::get<I>(columns)[at]...);
    } else {
      std::vector<Item> items = decode<std::vector<Item>>(decoder);
      decoder.expect_end();
      for (std::size_t at = 0; at < items.size(); ++at) each(at, std::get<I>(std::move(items[at]))...);
    }
  }

 private:
  template <std::size_t kIndex>
  static void encode_column(Encoder& encoder, const std::vector<Item>& items) {
    constexpr std::size_t kBlock = 256;
    std::array<Value<kIndex>, kBlock> block;
    for (std::size_t at = 0; at < items.size();) {
      std::size_t filled = 0;
      for (; filled < kBlock && at < items.size(); ++at, ++filled) block[filled] = std::get<kIndex>(items[at]);
      encoder.write(block.data(), filled * sizeof(block[0]));
    }
  }
  template <std::size_t kIndex>
  static std::vector<Value<kIndex>> decode_column(Decoder& decoder, std::uint64_t count) {
    if (count > decoder.remaining() / sizeof(Value<kIndex>)) throw WireError("a chunk of a map is cut short");
    std::vector<Value<kIndex>> column(count);
    decoder.read(static_cast<void*>(column.data()), count * sizeof(Value<kIndex>));
    return column;
  }
};

template <class R>
void encode_chunk_result(Encoder& encoder, const ChunkResult<R>& result) {
  if constexpr (!std::is_void_v<R>) encode(encoder, result.values);
  encode(encoder, static_cast<std::int64_t>(result.time.count()));
  encode(encoder, result.retried);
  encode(encoder, static_cast<std::uint64_t>(result.failures.size()));
  for (const auto& failure : result.failures) {
    encode(encoder, static_cast<std::uint64_t>(failure.item));
    encode_failure(encoder, failure.error);
  }
}
template <class R>
void decode_chunk_result(Decoder& decoder, ChunkResult<R>& result) {
  if constexpr (!std::is_void_v<R>) result.values = decode<std::vector<R>>(decoder);
  result.time = std::chrono::nanoseconds(decode<std::int64_t>(decoder));
  result.retried = decode<std::uint64_t>(decoder);
  for (auto left = decode<std::uint64_t>(decoder); left > 0; --left) {
    const auto item = decode<std::uint64_t>(decoder);
    result.failures.push_back({static_cast<std::size_t>(item), decode_failure(decoder)});
  }
  decoder.expect_end();
}

/// The RemoteEntry of a chunk. The failure of one item does not stop the others; it is called again as often as its
/// chunk says.
template <class R, class F, class Item>
void enter_remote_chunk(const void* function, Decoder& decoder, Encoder& encoder) {
  const auto begun = std::chrono::steady_clock::now();
  ChunkResult<R> result;
  {
    const F fn = decode_callable<F>(function, decoder);
    const auto retries = decode<std::uint32_t>(decoder);
    ItemRetries again(retries);
    const auto call = [&](auto&&... args) {
      if constexpr (std::is_void_v<R>) {
        invoke_remote(fn, std::forward<decltype(args)>(args)...);
      } else {
        result.values.push_back(invoke_remote(fn, std::forward<decltype(args)>(args)...));
      }
    };
    ItemColumns<Item>::for_all(decoder, [&](std::size_t at, auto&&... args) {
      for (;;) {
        try {
          if constexpr (std::copy_constructible<Item>) {
            if (retries > 0) return call(std::remove_cvref_t<decltype(args)>(std::as_const(args))...);
          }
          return call(std::forward<decltype(args)>(args)...);
        } catch (...) {
          if (again.again(at)) continue;
          result.failures.push_back({at, error_of_limited_call()});
          return;
        }
      }
    });
    result.retried = again.used();
  }
  result.time = std::chrono::steady_clock::now() - begun;
  encode_chunk_result(encoder, result);
}

template <class R, class F, class Item>
class RemoteChunkCall final : public ResultState<LocalChunk<R, Item>>, public RemoteTask {
  using Chunk = LocalChunk<R, Item>;

 public:
  using State = ResultState<Chunk>;
  RemoteChunkCall(const F& fn, Chunk chunk, unsigned retries)
      : State(static_cast<RemoteTask*>(this)),
        RemoteTask(static_cast<FutureState&>(*this), &enter_remote_chunk<R, F, Item>, function_of(fn)),
        chunk_(std::move(chunk)) {
    const EncoderLease lease;
    encode_callable(*lease, fn);
    encode(*lease, std::uint32_t{retries});
    ItemColumns<Item>::encode_all(*lease, chunk_.items);
    payload_.assign(*lease);
    chunk_.items.clear();
  }

  FutureState::Outcome take_result(Decoder& result) noexcept override {
    try {
      decode_chunk_result<R>(result, chunk_);
      retried_ = chunk_.retried;
      return this->store(std::move(chunk_));
    } catch (...) {
      this->write_error(decoding_error());
      return FutureState::Outcome::Error;
    }
  }
  const std::type_info& callable_type() const noexcept override { return typeid(F); }
  bool repeatable() const noexcept override { return std::copy_constructible<Item>; }
  std::uint64_t retried_items() const noexcept override { return retried_; }

 private:
  ~RemoteChunkCall() override = default;
  Chunk chunk_;  // Its memory, for the result.
  std::uint64_t retried_ = 0;
};

/// How ProcessExecutor makes tasks of calls.
struct RemoteCalls {
  /// Owner of one handle, which the Future that is made of it takes over.
  template <class F, class... Args>
  static auto* make(F&& fn, Args&&... args) {
    static_assert(require_portable_call<F, Args...>());
    if constexpr (PortableCallable<F> && (Portable<std::decay_t<Args>> && ...)) {
      using R = CallResultOf<F, Args...>;
      if constexpr (!std::is_void_v<R>) static_assert(require_portable<R>());
      return new RemoteCall<R, std::decay_t<F>, std::decay_t<Args>...>(fn, args...);
    } else {
      return static_cast<LocalCall<void, void (*)()>*>(nullptr);  // Refused above.
    }
  }

  template <class F>
  using Shared = F;
  template <class F>
  static F share(F fn) {
    return fn;
  }
  /// As LocalCalls::kChunkTime. Longer, since there is more to do for each task.
  static constexpr std::chrono::microseconds kChunkTime{500};
  template <class R, class Item>
  using Chunk = LocalChunk<R, Item>;
  template <class R, class F, class Item>
  static auto* make_chunk(const F& fn, Chunk<R, Item> chunk, unsigned retries) {
    static_assert(require_portable<F>() && require_portable<Item>());
    if constexpr (!std::is_void_v<R>) static_assert(require_portable<R>());
    return new RemoteChunkCall<R, F, Item>(fn, std::move(chunk), retries);
  }
};

}  // namespace tandem::detail
