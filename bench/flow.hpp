/// Messages from producers to consumers through any queue, counted and checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "sides.hpp"

namespace tandem::bench {

/// What is sent. Its first and its last word say who sent it and as which of its messages.
template <std::size_t kBytes>
struct Small {
  static constexpr std::size_t kSize = kBytes;
  std::array<std::uint64_t, kBytes / 8> words{};
};
template <std::size_t kBytes>
struct Large {
  static constexpr std::size_t kSize = kBytes;
  std::vector<std::uint64_t> words = std::vector<std::uint64_t>(kBytes / 8);
  template <class Archive>
  void serialize(Archive& archive) {
    archive(words);
  }
};

inline constexpr int kMostPairs = 64;
inline constexpr std::uint64_t kEnd = ~std::uint64_t{0};

template <class Message>
void stamp(Message& message, std::uint64_t number) {
  message.words.front() = message.words.back() = number;
}
template <class Message>
std::uint64_t stamp_of(const Message& message) {
  if (message.words.front() != message.words.back()) throw std::runtime_error("a message was torn");
  return message.words.front();
}

/// What comes of a flow, in memory that all sides share.
struct Tally {
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> received{0};
  std::atomic<std::uint64_t> seen_while_waiting{0};  // By consumers that find nothing and ask whether that is all.
  std::atomic<int> producers_done{0};
  std::atomic<int> consumers_ready{0};
  std::atomic<int> consumers_done{0};
  std::atomic<double> took_us{0};  // By the producer that took longest.
};

/// How many messages go through an `AnyQueue` each microsecond, from `pairs` producers to as many consumers: those sent
/// in a fixed time, through a queue of bounded length. All must arrive whole, and those of each producer in order.
///
/// AnyQueue has a Message; a Producer(AnyQueue&, Tally&, pairs) with put(message) and finish(); and a
/// Consumer(AnyQueue&, Tally&, index) with get(message), which is false once everything has been received.
template <class AnyQueue>
double messages_per_microsecond(Place place, Cores cores, int pairs) {
  using Message = typename AnyQueue::Message;
  constexpr double kMicroseconds = 50'000;
  constexpr std::uint64_t kMessagesBetweenLooks = Message::kSize < 4096 ? 100 : 1;
  constexpr int kNumberBits = 48;
  const Shared<Tally> tally;
  AnyQueue queue;
  const auto produce = [&](int index) {
    typename AnyQueue::Producer producer(queue, *tally, pairs);
    Message message;
    std::uint64_t count = 0;
    const auto start = std::chrono::steady_clock::now();
    while (microseconds_since(start) < kMicroseconds) {
      for (std::uint64_t i = 0; i < kMessagesBetweenLooks; ++i, ++count) {
        stamp(message, static_cast<std::uint64_t>(index) << kNumberBits | count);
        producer.put(message);
      }
    }
    const double took_us = microseconds_since(start);
    for (double longest = tally->took_us;
         longest < took_us && !tally->took_us.compare_exchange_weak(longest, took_us););
    tally->sent.fetch_add(count);
    tally->producers_done.fetch_add(1);
    producer.finish();
  };
  const auto consume = [&](int index) {
    typename AnyQueue::Consumer consumer(queue, *tally, index);
    std::array<std::uint64_t, kMostPairs> next{};
    Message message;
    std::uint64_t count = 0;
    for (; consumer.get(message); ++count) {
      const std::uint64_t number = stamp_of(message) & ((std::uint64_t{1} << kNumberBits) - 1);
      std::uint64_t& expected = next.at(stamp_of(message) >> kNumberBits);
      if (number < expected) throw std::runtime_error("messages of one producer came out of order");
      expected = number + 1;  // Another consumer may have got those in between.
    }
    tally->received.fetch_add(count);
    tally->consumers_done.fetch_add(1);
  };
  run_sides(place, cores, 2 * pairs, [&](int side) { side % 2 == 0 ? produce(side / 2) : consume(side / 2); });
  if (tally->received != tally->sent) throw std::runtime_error("messages were lost");
  return static_cast<double>(tally->sent) / tally->took_us;
}

/// How many messages may wait, of this size.
template <class Message>
constexpr std::size_t capacity() {
  return Message::kSize < 4096 ? 1024 : 16;
}

}  // namespace tandem::bench
