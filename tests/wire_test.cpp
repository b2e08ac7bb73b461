#include <tandem/wire.hpp>

#include <gtest/gtest.h>

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <span>
#include <stack>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <valarray>
#include <variant>
#include <vector>

#include "support/round_trip.hpp"

namespace {

using tandem::Portable;
using tandem::WireError;
using tandem::detail::Decoder;
using tandem::detail::Encoder;
using tandem::detail::kTriviallyPortable;
using tandem::testing::round_trip;
using namespace std::string_literals;
using namespace std::chrono_literals;

struct Point {
  int x = 0;
  double y = 0;
  bool operator==(const Point&) const = default;
};

enum class Colour : std::uint8_t { Red, Green };

struct Job {
  std::string name;
  std::map<std::string, std::vector<Point>> points;
  std::optional<Colour> colour;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(name), points, cereal::make_nvp("colour", colour));
  }
  bool operator==(const Job&) const = default;
};

struct Tree {
  int value = 0;
  std::vector<Tree> children;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(value, children);
  }
  bool operator==(const Tree&) const = default;
};

class WithoutPublicDefault {
 public:
  explicit WithoutPublicDefault(int value) : value_(value) {}
  int value() const { return value_; }

 private:
  friend class cereal::access;
  WithoutPublicDefault() = default;
  template <class Archive>
  void save(Archive& archive) const {
    archive(value_);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(value_);
  }
  int value_ = 0;
};

// Its last bytes are padding, in which a derived class may keep its own members.
class Padded {
 public:
  void set(int number, char letter) { number_ = number, letter_ = letter; }
  bool operator==(const Padded&) const = default;

 private:
  int number_ = 0;
  char letter_ = 0;
};
struct InPadding : Padded {
  char tail = 0;
  std::vector<int> more;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(tail, cereal::base_class<Padded>(this), more);
  }
};

struct Versioned {
  int value = 0;
  std::uint32_t seen_version = 0;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version) {
    archive(value);
    seen_version = version;
  }
};

struct Nothing {
  bool operator==(const Nothing&) const = default;
};

struct Brittle {
  Brittle() = default;
  explicit Brittle(std::string) { throw std::length_error("always"); }
  std::string text;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(text);
  }
};

struct External {
  std::string text;
};
template <class Archive>
std::string save_minimal(const Archive&, const External& external) {
  return external.text;
}
template <class Archive>
void load_minimal(const Archive&, External& external, const std::string& text) {
  external.text = text;
}

}  // namespace

CEREAL_CLASS_VERSION(Versioned, 7)

namespace {

template <class T>
void expect_survives(const T& value) {
  static_assert(Portable<T>);
  EXPECT_EQ(round_trip(value), value);
}

TEST(WireTest, NumbersSurvive) {
  expect_survives(std::numeric_limits<std::int64_t>::min());
  expect_survives(std::numeric_limits<double>::denorm_min());
  expect_survives(true);
  expect_survives('x');
  expect_survives(u8'x');
  expect_survives(1.5L);
  expect_survives(Colour::Green);
  expect_survives(nullptr);
  expect_survives(std::byte{7});
}

TEST(WireTest, StandardContainersSurvive) {
  expect_survives("a\0b"s);
  expect_survives(std::u16string(u"text"));
  expect_survives(std::vector<int>{1, 2, 3});
  expect_survives(std::vector<bool>{true, false, true});
  expect_survives(std::vector<std::string>{"", "one", std::string(1000, 'x')});
  expect_survives(std::vector<std::vector<int>>{{}, {1}, {2, 3}});
  expect_survives(std::deque<Point>{{1, 2}, {3, 4}});
  expect_survives(std::list<std::string>{"a", "b"});
  expect_survives(std::forward_list<int>{1, 2, 3});
  expect_survives(std::set<std::string>{"a", "b"});
  expect_survives(std::multiset<int>{1, 1, 2});
  expect_survives(std::unordered_set<int>{1, 2});
  expect_survives(std::map<std::string, int>{{"a", 1}, {"b", 2}});
  expect_survives(std::multimap<int, std::string>{{1, "a"}, {1, "b"}});
  expect_survives(std::unordered_map<int, std::string>{{1, "a"}, {2, "b"}});
  expect_survives(std::array<std::string, 2>{"a", "b"});
  expect_survives(std::array<bool, 3>{true, false, true});
  expect_survives(std::array<int, 0>{});
  expect_survives(std::queue<int>(std::deque<int>{1, 2}));
  expect_survives(std::stack<std::string>(std::deque<std::string>{"a"}));
  const auto numbers = round_trip(std::valarray<double>{1, 2, 3});
  EXPECT_EQ((std::vector<double>(std::begin(numbers), std::end(numbers))), (std::vector<double>{1, 2, 3}));
  std::priority_queue<int> priorities;
  for (int priority : {2, 9, 4}) priorities.push(priority);
  EXPECT_EQ(round_trip(priorities).top(), 9);
}

TEST(WireTest, OtherStandardTypesSurvive) {
  expect_survives(std::pair<int, std::string>(1, "a"));
  expect_survives(std::tuple<int, std::string, std::vector<int>>(1, "a", {2}));
  expect_survives(std::tuple<>());
  expect_survives(std::optional<std::string>("a"));
  expect_survives(std::optional<int>());
  expect_survives(std::variant<int, std::string>("a"));
  expect_survives(std::variant<std::monostate, int>());
  expect_survives(std::chrono::system_clock::now());
  expect_survives(1500ms);
  expect_survives(std::filesystem::path("/tmp/a b"));
  expect_survives(std::complex<float>(1, 2));
  expect_survives(std::bitset<70>(0x5));
  std::mt19937_64 random(42);
  random.discard(1000);
  expect_survives(random);
}

TEST(WireTest, ClassesSurvive) {
  expect_survives(Point{1, 2.5});
  expect_survives(std::array<Point, 2>{Point{1, 2}, Point{3, 4}});
  expect_survives(Job{"job", {{"a", {{1, 2}}}, {"b", {}}}, Colour::Green});
  expect_survives(Tree{1, {{2, {}}, {3, {{4, {}}}}}});
  expect_survives(std::vector<Nothing>(3));
  EXPECT_EQ(round_trip(WithoutPublicDefault(7)).value(), 7);
  EXPECT_EQ(round_trip(External{"text"}).text, "text");
}

// QUE-45 is proven with a queue in queue_wire_test.cpp; this is the structure alone.
TEST(WireTest, AMixedStructureSurvives) {
  using Mixed = std::map<std::string, std::variant<int, double, std::string, std::vector<std::optional<Job>>>>;
  expect_survives(Mixed{{"int", 1},
                        {"double", 2.5},
                        {"text", "three"s},
                        {"jobs", std::vector<std::optional<Job>>{Job{"a", {}, {}}, {}}}});
}

TEST(WireTest, ABaseDoesNotOverwriteWhatIsInItsPadding) {
  InPadding value;
  value.set(1, 'a');
  value.tail = 'z';
  value.more = {1, 2};
  const InPadding copy = round_trip(value);
  EXPECT_EQ(copy.tail, 'z');
  EXPECT_EQ(copy.more, value.more);
  EXPECT_TRUE(static_cast<const Padded&>(copy) == static_cast<const Padded&>(value));
}

TEST(WireTest, ClassVersionsAreWrittenAgainAfterClear) {
  Encoder encoder;
  for (int round = 0; round < 2; ++round) {
    encoder.clear();
    encode(encoder, std::vector<Versioned>{{1, 0}, {2, 0}});
    Decoder decoder(encoder.bytes());
    const auto copy = tandem::detail::decode<std::vector<Versioned>>(decoder);
    EXPECT_EQ(copy.at(1).value, 2);
    EXPECT_EQ(copy.at(1).seen_version, 7U);
    EXPECT_EQ(decoder.remaining(), 0U);
  }
}

TEST(WireTest, BlocksSurviveAtAnyPosition) {
  for (std::size_t before = 0; before < 9; ++before) {
    const std::pair value(std::vector<char>(before, 'x'), std::vector<double>{1, 2, 3});
    Encoder encoder;
    encode(encoder, value);
    for (std::size_t shift = 0; shift < 9; ++shift) {  // A message need not begin at an aligned address.
      std::vector<std::byte> bytes(shift);
      bytes.insert(bytes.end(), encoder.bytes().begin(), encoder.bytes().end());
      Decoder decoder(bytes.data() + shift, bytes.size() - shift);
      EXPECT_EQ((tandem::detail::decode<std::pair<std::vector<char>, std::vector<double>>>(decoder)), value);
    }
  }
}

TEST(WireTest, AVariantWithoutValueIsRefused) {
  std::variant<int, Brittle> value;
  EXPECT_THROW(value.emplace<1>("too long for it"), std::length_error);
  ASSERT_TRUE(value.valueless_by_exception());
  Encoder encoder;
  EXPECT_THROW(encode(encoder, value), WireError);
}

TEST(WireTest, NestingWithoutEndIsRefusedWhenSent) {
  Tree tree;
  for (int depth = 0; depth < tandem::detail::kMaxNesting; ++depth) tree = Tree{depth, {std::move(tree)}};
  Encoder encoder;
  EXPECT_THROW(encode(encoder, tree), WireError);
  encoder.clear();
  EXPECT_NO_THROW(encode(encoder, Tree{1, {}}));
}

TEST(WireTest, AMovedEncoderKeepsItsBytes) {
  Encoder encoder;
  encode(encoder, "text"s);
  const Encoder moved(std::move(encoder));
  Decoder decoder(moved.bytes());
  EXPECT_EQ(tandem::detail::decode<std::string>(decoder), "text");
}

TEST(WireTest, DescriptorsTravelAsArgumentsOnlyAndOnce) {
  Encoder item;
  EXPECT_THROW(item.describe_descriptor(0), WireError);
  Encoder arguments(Encoder::Purpose::Arguments);
  arguments.describe_descriptor(10);
  arguments.describe_descriptor(11);
  EXPECT_EQ(arguments.descriptors(), (std::vector<int>{10, 11}));

  const std::array received{20, 21};
  Decoder decoder(arguments.bytes(), received);
  EXPECT_EQ(decoder.take_descriptor(), 20);
  EXPECT_EQ(decoder.take_descriptor(), 21);
  Decoder again(arguments.bytes(), std::span(received).first(1));
  EXPECT_EQ(again.take_descriptor(), 20);
  EXPECT_THROW(again.take_descriptor(), WireError);
}

// What must not compile is in must_not_compile/; here the concept alone, as an overload would ask it.
struct HoldsPointer {
  int size;
  const char* text;
};
struct HoldsIt {
  HoldsPointer inner[2];
};
struct HoldsFlags {
  bool flag : 1;
  long number;
  union {
    float real;
    long whole;
  };
  Nothing nothing;
  std::optional<int> maybe;
  char name[100];
};
static_assert(!Portable<int*> && !Portable<void*> && !Portable<int&> && !Portable<int Point::*> &&
              !Portable<const char*>);
static_assert(!Portable<std::string_view> && !Portable<std::span<int>> && !Portable<std::initializer_list<int>>);
static_assert(!Portable<std::unique_ptr<int>> && !Portable<std::function<void()>> &&
              !Portable<std::reference_wrapper<int>>);
static_assert(!Portable<std::mutex> && !Portable<std::atomic<int>> && !Portable<std::thread> &&
              !Portable<std::thread::id>);
static_assert(!Portable<std::error_code> && !Portable<std::vector<int>::iterator> && !Portable<std::vector<int*>>);
static_assert(!Portable<HoldsPointer> && !Portable<HoldsIt> && !Portable<std::pair<int, HoldsPointer>>);
static_assert(Portable<HoldsFlags> && kTriviallyPortable<HoldsFlags>);
static_assert(Portable<Point> && kTriviallyPortable<Point> && kTriviallyPortable<std::optional<Point>>);
static_assert(!kTriviallyPortable<Job> && !kTriviallyPortable<std::string> && !kTriviallyPortable<void (*)()>);
static_assert(!kTriviallyPortable<std::optional<void (*)()>> && !Portable<std::array<int*, 2>>);

}  // namespace
