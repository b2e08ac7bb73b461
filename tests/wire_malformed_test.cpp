// Bytes that are no value: every read stays inside of them, and memory is taken only in proportion to them.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <tandem/wire.hpp>

#include "support/random.hpp"

namespace {

using tandem::WireError;
using tandem::detail::decode;
using tandem::detail::Decoder;
using tandem::detail::Encoder;

// Adds up what containers take, while it is counting.
std::size_t allocated_bytes = 0;
template <class T>
struct Counting : std::allocator<T> {
  Counting() = default;
  template <class U>
  Counting(const Counting<U>&) {}
  template <class U>
  struct rebind {
    using other = Counting<U>;
  };
  T* allocate(std::size_t count) {
    allocated_bytes += count * sizeof(T);
    return std::allocator<T>::allocate(count);
  }
};
template <class T>
using Vector = std::vector<T, Counting<T>>;
using String = std::basic_string<char, std::char_traits<char>, Counting<char>>;

struct Nothing {
  auto operator<=>(const Nothing&) const = default;
};

struct Tree {
  Vector<Tree> children;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(children);
  }
};

using Everything =
    std::tuple<Vector<String>, std::map<int, String, std::less<>, Counting<std::pair<const int, String>>>,
               std::set<String, std::less<>, Counting<String>>, std::list<Vector<double>, Counting<Vector<double>>>,
               std::optional<String>, std::variant<int, String, Vector<int>>, std::array<String, 2>, Vector<bool>,
               Vector<Nothing>, std::deque<Vector<Vector<int>>, Counting<Vector<Vector<int>>>>,
               Vector<std::array<long, 4>>>;

Everything an_example() {
  return {{"one", "two", String(100, 'x')},
          {{1, "a"}, {2, String(50, 'y')}},
          {"p", "q"},
          {{1, 2, 3}, {}},
          "maybe",
          Vector<int>{1, 2, 3},
          {"l", "r"},
          {true, false},
          Vector<Nothing>(5),
          {{{1}, {2, 3}}},
          {{1, 2, 3, 4}}};
}

/// The bytes in memory that end exactly where they end, so that the address sanitizer sees one byte too many.
std::unique_ptr<std::byte[]> exact_copy(std::span<const std::byte> bytes) {
  auto copy = std::make_unique<std::byte[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.get());
  return copy;
}

template <class T>
void expect_modest(std::span<const std::byte> bytes, bool must_throw) {
  const auto copy = exact_copy(bytes);
  allocated_bytes = 0;
  Decoder decoder(std::span(copy.get(), bytes.size()));
  try {
    static_cast<void>(decode<T>(decoder));
    EXPECT_FALSE(must_throw) << bytes.size() << " bytes were taken for a value";
  } catch (const WireError&) {
  }
  // The factor: a std::string or a tree node of 64 bytes and less for 8 bytes of count, and vectors that grow by
  // doubling.
  EXPECT_LE(allocated_bytes, 32 * bytes.size() + 1024) << "out of " << bytes.size() << " bytes";
}

TEST(WireMalformedTest, EveryTruncationIsAnError) {
  Encoder encoder;
  encode(encoder, an_example());
  for (std::size_t size = 0; size < encoder.bytes().size(); ++size)
    expect_modest<Everything>(encoder.bytes().first(size), /*must_throw=*/true);
}

TEST(WireMalformedTest, RandomCorruptionNeverLeavesTheBytes) {
  auto random = tandem::testing::random_engine();
  Encoder encoder;
  encode(encoder, an_example());
  std::vector<std::byte> bytes(encoder.bytes().begin(), encoder.bytes().end());
  for (int round = 0; round < 20'000; ++round) {
    auto corrupted = bytes;
    for (int change = 0; change <= round % 4; ++change)
      corrupted[random() % corrupted.size()] = static_cast<std::byte>(random());
    expect_modest<Everything>(corrupted, /*must_throw=*/false);
  }
}

TEST(WireMalformedTest, RandomBytesAreNeverTakenForMoreThanTheyAre) {
  auto random = tandem::testing::random_engine();
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> bytes(random() % 200);
    for (std::byte& byte : bytes) byte = random() % 3 == 0 ? static_cast<std::byte>(random() % 20) : std::byte{0};
    expect_modest<Everything>(bytes, /*must_throw=*/false);
    expect_modest<Tree>(bytes, /*must_throw=*/false);
  }
}

template <class T>
void expect_huge_count_is_refused() {
  for (const std::uint64_t count :
       {std::uint64_t{1} << 62, ~std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{1} << 61}) {
    Encoder encoder;
    encode(encoder, count);
    expect_modest<T>(encoder.bytes(), /*must_throw=*/true);
  }
}

TEST(WireMalformedTest, ImpossibleCountsAreRefusedBeforeAnyMemoryIsTaken) {
  expect_huge_count_is_refused<String>();
  expect_huge_count_is_refused<Vector<long>>();
  expect_huge_count_is_refused<Vector<String>>();
  expect_huge_count_is_refused<Vector<Nothing>>();
  expect_huge_count_is_refused<Vector<std::array<long, 100>>>();
  expect_huge_count_is_refused<std::list<int>>();
  expect_huge_count_is_refused<std::map<int, int>>();
  expect_huge_count_is_refused<std::variant<int, long>>();
}

TEST(WireMalformedTest, NestingWithoutEndIsRefusedBeforeTheStackEnds) {
  Encoder encoder;
  for (int depth = 0; depth < 100'000; ++depth) encode(encoder, std::uint64_t{1});
  Decoder decoder(encoder.bytes());
  EXPECT_THROW(decode<Tree>(decoder), WireError);
}

TEST(WireMalformedTest, ABoolIsZeroOrOne) {
  const std::array bytes{std::byte{2}};
  Decoder decoder(bytes);
  EXPECT_THROW(decode<bool>(decoder), WireError);
  Decoder optional(bytes);
  EXPECT_THROW(decode<std::optional<char>>(optional), WireError);
}

TEST(WireMalformedTest, BytesLeftOverAreAnError) {
  Encoder encoder;
  encode(encoder, std::pair(1, 2));
  Decoder decoder(encoder.bytes());
  EXPECT_EQ(decode<int>(decoder), 1);
  EXPECT_THROW(decoder.expect_end(), WireError);
}

TEST(WireMalformedTest, TheErrorSaysHowMuchIsMissing) {
  Encoder encoder;
  encode(encoder, 1);
  Decoder decoder(encoder.bytes());
  try {
    static_cast<void>(decode<double>(decoder));
    FAIL();
  } catch (const WireError& error) {
    EXPECT_STREQ(error.what(), "message cut short or not of this type: 8 more wanted, 4 of 4 bytes left");
  }
}

}  // namespace
