#include <tandem/detail/fingerprint.hpp>

#include <chrono>
#include <complex>
#include <cstring>
#include <deque>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tandem/queue.hpp>

namespace tandem::testing {
namespace {

using detail::fingerprint_of;

struct Padded {
  char letter;
  double number;
};
struct Deep {
  Padded parts[2];
  short rest;
};
/// A value in memory that held other bytes before.
template <class T>
T& made_over(std::byte before, std::vector<std::byte>& memory, const T& value) {
  memory.assign(sizeof(T) + alignof(T), before);
  void* at = memory.data();
  std::size_t space = memory.size();
  std::align(alignof(T), sizeof(T), at, space);
  T* made = static_cast<T*>(at);
  if constexpr (std::is_same_v<T, Padded>) {
    made->letter = value.letter;
    made->number = value.number;
  } else {
    for (int at_part = 0; at_part < 2; ++at_part) {
      made->parts[at_part].letter = value.parts[at_part].letter;
      made->parts[at_part].number = value.parts[at_part].number;
    }
    made->rest = value.rest;
  }
  return *made;
}

struct Job {
  std::string name;
  std::vector<Padded> samples;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, samples);
  }
};

#if defined(__GNUC__) && !defined(__clang__)
TEST(FingerprintTest, BytesWithoutMeaningDoNotCount) {
  std::vector<std::byte> one, other;
  const Padded padded{'x', 2.5};
  EXPECT_EQ(fingerprint_of(made_over(std::byte{0}, one, padded)),
            fingerprint_of(made_over(std::byte{0xff}, other, padded)));
  const Deep deep{{{'a', 1}, {'b', 2}}, 3};
  const Deep& first = made_over(std::byte{0}, one, deep);
  const Deep& second = made_over(std::byte{0xff}, other, deep);
  ASSERT_NE(std::memcmp(&first, &second, sizeof first), 0) << "there are such bytes";
  EXPECT_EQ(fingerprint_of(first), fingerprint_of(second));
  EXPECT_EQ(fingerprint_of(std::tuple(first, 1)), fingerprint_of(std::tuple(second, 1)));
  EXPECT_EQ(fingerprint_of(std::vector<Padded>(first.parts, first.parts + 2)),
            fingerprint_of(std::vector<Padded>(second.parts, second.parts + 2)));
  EXPECT_EQ(fingerprint_of(Job{"j", {first.parts, first.parts + 2}}),
            fingerprint_of(Job{"j", {second.parts, second.parts + 2}}));
}
#endif

template <class T>
void expect_different(const T& a, const T& b) {
  EXPECT_EQ(fingerprint_of(a), fingerprint_of(T(a)));
  EXPECT_NE(fingerprint_of(a), fingerprint_of(b));
}

TEST(FingerprintTest, ValuesOfEachKindAreToldApart) {
  expect_different(1, 2);
  expect_different(true, false);
  expect_different(0.5, 0.25);
  expect_different(1.0L, std::numeric_limits<long double>::epsilon() + 1);
  expect_different(std::complex(1.0, 2.0), std::complex(2.0, 1.0));
  expect_different(std::string("a"), std::string("b"));
  expect_different(std::vector{1, 2}, std::vector{1, 3});
  expect_different(std::vector{true, false}, std::vector{true, true});
  expect_different(std::vector<std::string>{"ab", "c"}, std::vector<std::string>{"a", "bc"});
  expect_different(std::deque{1, 2}, std::deque{1});
  expect_different(std::map<int, int>{{1, 2}}, std::map<int, int>{{1, 3}});
  expect_different(std::set{1, 2}, std::set{1});
  expect_different(std::pair(1, 2), std::pair(2, 1));
  expect_different(std::optional(0), std::optional<int>());
  expect_different(std::variant<int, long>(1), std::variant<int, long>(1L));
  expect_different(std::array{1, 2}, std::array{2, 2});
  expect_different(std::chrono::duration<double>(1), std::chrono::duration<double>(2));
  expect_different(std::filesystem::path("a"), std::filesystem::path("b"));
  expect_different(Padded{'a', 1}, Padded{'a', 2});
  expect_different(Job{"a", {{'x', 1}}}, Job{"a", {{'x', 2}}});
}

TEST(FingerprintTest, AHandleMeansNothingToAnotherRun) {
  EXPECT_THROW(static_cast<void>(fingerprint_of(Queue<int>())), WireError);
}

}  // namespace
}  // namespace tandem::testing
