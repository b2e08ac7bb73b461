// Value and Array when a process that uses them is killed: at each named point, and at random.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/array.hpp>
#include <tandem/process.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/value.hpp>

#include "core/kill_point.hpp"
#include "support/kill_points.hpp"
#include "support/leak_checked_test.hpp"
#include "support/random.hpp"
#include "support/wide.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::for_each_kill_point;
using testing::wide;
using testing::Wide;

class ValueKillTest : public testing::LeakCheckedTest {
 protected:
  std::chrono::seconds time_limit() const override { return 180s; }

  // Kills `body` at each of its points, with a new value each time; then it must be old or new, and go on. After that
  // no byte of the arena may be left.
  template <class V>
  void kill_everywhere(std::size_t at_least, const std::function<V()>& make, const std::function<void(V)>& body,
                       const std::function<void(V, const std::string&)>& check) {
    if (!detail::kHasKillPoints) GTEST_SKIP() << "this build has no kill points";
    const std::size_t before = arena_usage().in_use_bytes;
    std::optional<V> value = make();
    const auto points = for_each_kill_point([&] { body(*value); },
                                            [&](const std::string& at) {
                                              check(*value, at);
                                              value.reset();
                                              ASSERT_EQ(arena_usage().in_use_bytes, before);
                                              value = make();
                                            });
    EXPECT_GE(points.size(), at_least) << "the points inside the call are not compiled in any more";
    value.reset();
    EXPECT_EQ(arena_usage().in_use_bytes, before);
  }
};

TEST_F(ValueKillTest, AnAdditionIsDoneOnceOrNotAtAll) {
  kill_everywhere<Value<int>>(
      3, [] { return Value<int>(10); }, [](Value<int> value) { value += 1; },
      [](Value<int> value, const std::string& at) {
        EXPECT_EQ(value.get(), at == "value.switched" ? 11 : 10);
        value += 1;
        EXPECT_EQ(value.get(), at == "value.switched" ? 12 : 11);
        EXPECT_FALSE(value.locked());
        EXPECT_FALSE(value.owner_died()) << "the others would take the slow way for ever";
      });
}

TEST_F(ValueKillTest, AnUpdateOfALargeStructLeavesTheOldOrTheNewOne) {
  kill_everywhere<Value<Wide>>(
      3, [] { return Value<Wide>(wide(1)); },
      [](Value<Wide> value) {
        value.update([](Wide& all) {
          for (std::uint64_t& word : all.words) {
            word = 2;
            detail::pass_kill_point("in the midst of the change");
          }
        });
      },
      [](Value<Wide> value, const std::string& at) {
        EXPECT_TRUE(value.get().is(at == "value.switched" ? 2 : 1));
        value = wide(3);
        EXPECT_TRUE(value.get().is(3));
      });
}

TEST_F(ValueKillTest, AReaderThatIsKilledStopsNobody) {
  kill_everywhere<Value<Wide>>(
      1, [] { return Value<Wide>(wide(1)); }, [](Value<Wide> value) { static_cast<void>(value.get()); },
      [](Value<Wide> value, const std::string&) {
        value = wide(2);
        EXPECT_TRUE(value.get().is(2));
      });
}

TEST_F(ValueKillTest, SeveralStepsUnderItsOwnLockGoOnAtTheNext) {
  kill_everywhere<Value<int>>(
      5, [] { return Value<int>(0); },
      [](Value<int> value) {
        const std::scoped_lock guard(value);
        value += 1;
        detail::pass_kill_point("between two steps");
        value += 1;
      },
      [](Value<int> value, const std::string&) {
        const int seen = value.get();
        EXPECT_TRUE(seen >= 0 && seen <= 2) << seen;
        value += 1;
        EXPECT_EQ(value.get(), seen + 1);
      });
}

// Whether a process killed at this point had the lock of the value: before that, it makes itself known to the family.
bool had_the_lock(const std::string& at) {
  return at.starts_with("value.");
}

TEST_F(ValueKillTest, AGivenLockDoesAsItsMakerChose) {
  using V = Value<int>;
  kill_everywhere<V>(
      3, [] { return V(10, Lock(OnOwnerDeath::Throw)); }, [](V value) { value += 1; },
      [](V value, const std::string& at) {
        if (!had_the_lock(at)) return;
        EXPECT_THROW(value += 1, OwnerDied);
        EXPECT_TRUE(value.recover().owner_died());
        value += 1;
        value.repaired();
        value.unlock();
        EXPECT_TRUE(value.get() == 11 || value.get() == 12);
      });
  kill_everywhere<V>(
      3, [] { return V(10, RLock(OnOwnerDeath::Tell)); }, [](V value) { value += 1; },
      [](V value, const std::string& at) {
        value += 1;
        if (!had_the_lock(at)) return;
        EXPECT_TRUE(value.owner_died()) << "the mark is for those who guard more with the lock";
      });
  kill_everywhere<V>(
      3, [] { return V(10, RLock(OnOwnerDeath::Break)); }, [](V value) { value += 1; },
      [](V value, const std::string& at) {
        if (!had_the_lock(at)) return;
        EXPECT_THROW(static_cast<void>(value.get()), OwnerDied);
      });
}

TEST_F(ValueKillTest, ALockedArrayTellsTheNextThatItMayBeHalfChanged) {
  using A = Array<int>;
  kill_everywhere<A>(
      2, [] { return A{1, 1}; },
      [](A array) {
        const std::scoped_lock guard(array);
        detail::pass_kill_point("before");
        array[0] = 2;
        detail::pass_kill_point("half way");
        array[1] = 2;
      },
      [](A array, const std::string& at) {
        if (at != "before" && at != "half way") return;  // It had not got the lock yet.
        EXPECT_THROW(array.lock(), OwnerDied);
        EXPECT_TRUE(array.recover().owner_died());
        EXPECT_EQ(array[0], at == "before" ? 1 : 2);
        EXPECT_EQ(array[1], 1);
        array[1] = array[0];
        array.repaired();
        array.unlock();
        const std::scoped_lock guard(array);
      });
}

TEST_F(ValueKillTest, MakingAndDroppingLeavesNothing) {
  kill_everywhere<Value<int>>(
      20, [] { return Value<int>(0); },
      [](Value<int> value) {
        const Value<Wide> other(wide(1), value.get_lock());
        const RawValue<int> raw(1);
        const Array<int> array{1, 2, 3};
        const RawArray<int> large(100'000);
      },
      [](Value<int> value, const std::string&) {
        value += 1;
        EXPECT_EQ(value.get(), 1);
      });
}

// Counts for ever; what it reports it has added, and it may have added one more.
template <class V>
void count_up(V total, RawArray<std::uint64_t> reported, std::size_t me) {
  for (;;) {
    total += 1;
    ++reported[me];
  }
}

template <class V>
void expect_exact_under_kills() {
  constexpr std::size_t kWorkers = 8;
  const std::size_t kills = testing::kSanitized ? 12 : 32;
  V total;
  RawArray<std::uint64_t> reported(kWorkers);
  std::vector<Process> workers;
  for (std::size_t i = 0; i < kWorkers; ++i) workers.emplace_back(count_up<V>, total, reported, i);
  for (Process& worker : workers) worker.start();
  auto engine = testing::random_engine();
  for (std::size_t killed = 0; killed < kills; ++killed) {
    const std::size_t victim = engine() % kWorkers;
    // Each life adds something, so the others were not held up by the death before it.
    const std::uint64_t before = reported[victim];
    volatile std::uint64_t& now = reported[victim];
    const std::uint64_t wanted = before + 1 + engine() % 1'000;
    while (now < wanted) std::this_thread::yield();
    workers[victim].kill();
    workers[victim].join();
    workers[victim] = Process(count_up<V>, total, reported, victim);
    workers[victim].start();
  }
  for (Process& worker : workers) worker.kill();
  for (Process& worker : workers) worker.join();
  std::uint64_t sum = 0;
  for (const std::uint64_t one : reported) sum += one;
  EXPECT_GE(total.get(), sum);
  EXPECT_LE(total.get(), sum + kills + kWorkers);
}

TEST_F(ValueKillTest, CountsStayExactWhileProcessesAreKilled) {
  expect_exact_under_kills<Value<std::uint64_t>>();
}

TEST_F(ValueKillTest, CountsWithoutALockStayExactWhileProcessesAreKilled) {
  expect_exact_under_kills<RawValue<std::uint64_t>>();
}

// Adds one to every word at once, for ever.
void raise_all(Value<Wide> value) {
  for (;;)
    value.update([](Wide& all) {
      for (std::uint64_t& word : all.words) ++word;
    });
}

TEST_F(ValueKillTest, ALargeValueIsNeverTornWhileProcessesAreKilled) {
  Value<Wide> value;
  bool whole = true;
  auto engine = testing::random_engine(1);
  std::vector<Process> workers;
  for (int i = 0; i < 3; ++i) workers.emplace_back(raise_all, value);
  for (Process& worker : workers) worker.start();
  for (int killed = 0; killed < (testing::kSanitized ? 10 : 30); ++killed) {
    for (const std::uint64_t wanted = value.get().words[0] + engine() % 100; value.get().words[0] <= wanted;) {
      const Wide seen = value;
      whole = whole && seen.is(seen.words[0]);
    }
    Process& victim = workers[engine() % workers.size()];
    victim.kill();
    victim.join();
    victim = Process(raise_all, value);
    victim.start();
  }
  for (Process& worker : workers) worker.kill();
  for (Process& worker : workers) worker.join();
  EXPECT_TRUE(whole);
  const Wide last = value;
  EXPECT_TRUE(last.is(last.words[0]));
}

}  // namespace
}  // namespace tandem
