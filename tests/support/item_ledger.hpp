/// What became of the items that went through a queue or a pipe whose users are killed.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tandem::testing {

/// Every item: by whom it was put, and how often it was got. To be had in OutsideMemory. A producer's number is used by
/// one process at a time; items are named by (producer, number).
template <std::size_t producers, std::size_t most_items>
class ItemLedger {
 public:
  struct Counts {
    std::size_t begun = 0;     // Puts that may have happened.
    std::size_t put = 0;       // Puts that returned.
    std::size_t got = 0;       // Gets that returned and were noted.
    std::size_t unsure = 0;    // Got, though the put had not returned when its process was killed.
    std::size_t vanished = 0;  // Put returned, and no get noted.
    std::size_t twice = 0;     // Got more than once.
    std::size_t invented = 0;  // Got, and never put.
  };

  /// Notes that the producer is about to put its next item, which is named.
  std::uint64_t begin(std::uint64_t producer) {
    const std::uint64_t number = begun_[producer].load();
    begun_[producer].store(number + 1);
    return producer << kNumberBits | number;
  }
  bool full(std::uint64_t producer) const { return begun_[producer].load() >= most_items; }
  void note_put(std::uint64_t name) { at(name).fetch_or(kReturned); }
  void note_got(std::uint64_t name) {
    if ((name >> kNumberBits) < producers && (name & kNumberMask) < begun_[name >> kNumberBits].load())
      at(name).fetch_add(1);
    else
      invented_.fetch_add(1);
  }

  /// Calls `vanished` with the name of each item of which that is so.
  template <class Vanished>
  Counts count(Vanished vanished) const {
    Counts counts;
    counts.invented = invented_.load();
    for (std::size_t producer = 0; producer < producers; ++producer) {
      const std::uint64_t begun = begun_[producer].load();
      counts.begun += begun;
      for (std::uint64_t number = 0; number < begun; ++number) {
        const std::uint8_t seen = items_[producer][number].load();
        const bool returned = (seen & kReturned) != 0;
        const std::size_t times = seen & ~kReturned;
        counts.put += returned ? 1 : 0;
        counts.got += times;
        counts.unsure += !returned && times != 0 ? 1 : 0;
        counts.twice += times > 1 ? 1 : 0;
        if (!returned || times != 0) continue;
        ++counts.vanished;
        vanished(producer << kNumberBits | number);
      }
    }
    return counts;
  }

 private:
  static constexpr int kNumberBits = 56;
  static constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << kNumberBits) - 1;
  static constexpr std::uint8_t kReturned = 0x80;

  std::atomic<std::uint8_t>& at(std::uint64_t name) { return items_[name >> kNumberBits][name & kNumberMask]; }

  std::array<std::atomic<std::uint64_t>, producers> begun_;
  std::atomic<std::uint64_t> invented_;
  std::array<std::array<std::atomic<std::uint8_t>, most_items>, producers> items_;
};

}  // namespace tandem::testing
