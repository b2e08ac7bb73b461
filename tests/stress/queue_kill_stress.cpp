// Producers and consumers are killed at random instants, thousands of times: nothing hangs, nothing is lost or
// invented, and the arena is as it was.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "ipc/family.hpp"
#include "support/item_ledger.hpp"
#include "support/leak_checked_test.hpp"
#include "support/outside_memory.hpp"
#include "support/random.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kProducers = 2;
constexpr std::size_t kConsumers = 2;
constexpr std::uint64_t kMostItems = 3'000'000'000;  // Of each producer: more than it can put in the time, soaks too.

/// What survives all kills.
struct Ledger {
  struct Consumer {
    std::atomic<std::uint64_t> decoded;  // The item that is being received, plus 1; 0 when get() has returned.
  };
  std::array<Consumer, kConsumers> consumers;
  testing::ItemLedger<kProducers, kMostItems> items;
};

Ledger* ledger = nullptr;
// Where this process notes what it is decoding.
std::atomic<std::uint64_t>* decoding = nullptr;

// The order in a PriorityQueue has nothing to do with the one in which items are put, and many are equal.
std::uint64_t urgency_of(std::uint64_t name) {
  return name * 7919 % 16;
}
struct MoreUrgent {
  bool operator()(std::uint64_t a, std::uint64_t b) const { return urgency_of(a) < urgency_of(b); }
};

/// An item that says when it is being received, and is small, middling or large.
struct Noted {
  std::uint64_t name = 0;
  std::string filler;

  friend bool operator==(const Noted&, const Noted&) = default;
  friend bool operator<(const Noted& a, const Noted& b) { return urgency_of(a.name) < urgency_of(b.name); }
  template <class Archive>
  void save(Archive& archive) const {
    archive(name, filler);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(name, filler);
    if (decoding != nullptr) decoding->store(name + 1, std::memory_order_relaxed);
  }
};

template <class T>
T make_item(std::uint64_t name) {
  if constexpr (std::is_same_v<T, std::uint64_t>) {
    return name;
  } else {
    constexpr std::array<std::size_t, 8> kSizes{0, 0, 0, 20, 20, 500, 5'000, 200'000};
    return {name, std::string(kSizes[name % kSizes.size()], static_cast<char>('a' + name % 26))};
  }
}

std::uint64_t name_in(std::uint64_t item) {
  return item;
}
std::uint64_t name_in(const Noted& item) {
  return item.name;
}

template <class Q>
[[noreturn]] void produce(std::size_t me, Q queue) {
  // Killed consumers take less than is put. A queue without a bound would grow to its limit in a soak.
  constexpr std::size_t kEnough = 1'000'000, kPutsBetweenLooks = 4096;
  for (std::size_t puts = 1; !ledger->items.full(me); ++puts) {
    while (puts % kPutsBetweenLooks == 0 && queue.size() > kEnough) sched_yield();
    const std::uint64_t name = ledger->items.begin(me);
    queue.put(make_item<typename Q::value_type>(name));
    ledger->items.note_put(name);
  }
  _exit(0);
}

template <class Q>
[[noreturn]] void consume(std::size_t me, Q queue) {
  using T = typename Q::value_type;
  decoding = &ledger->consumers[me].decoded;
  for (;;) {
    std::optional<T> item;
    try {
      item = queue.get();
    } catch (const QueueClosed&) {
      _exit(0);
    }
    const std::uint64_t name = name_in(*item);
    ledger->items.note_got(name);
    decoding->store(0);
    if (*item != make_item<T>(name)) abort();  // Invented: the parent sees the signal.
  }
}

/// The same with up to `most` items at a time, which are claimed together.
template <class Q>
[[noreturn]] void produce_many(std::size_t me, Q queue, std::size_t most) {
  auto engine = testing::random_engine(static_cast<std::uint64_t>(::getpid()));
  std::vector<std::uint64_t> names;
  while (!ledger->items.full(me)) {
    names.assign(1 + engine() % most, 0);
    for (std::uint64_t& name : names) name = ledger->items.begin(me);
    queue.put_many(names);
    for (const std::uint64_t name : names) ledger->items.note_put(name);
  }
  _exit(0);
}

template <class Q>
[[noreturn]] void consume_many(Q queue, std::size_t most) {
  try {
    for (;;)
      for (const std::uint64_t name : queue.get_many(most)) ledger->items.note_got(name);
  } catch (const QueueClosed&) {
    _exit(0);
  }
}

class QueueKillStress : public testing::LeakCheckedTest {
 protected:
  std::chrono::seconds time_limit() const override { return 500s; }

  static std::size_t kills() {
    return std::getenv("TANDEM_SOAK") != nullptr ? 20'000 : testing::kSanitized ? 500 : 2'000;
  }

  // Items are put and taken one by one, or up to `together` at a time.
  template <class Q>
  void run(std::size_t capacity, std::size_t together = 1);
};

pid_t start(auto body) {
  const pid_t pid = detail::fork_member();
  if (pid == 0) body();
  EXPECT_GT(pid, 0);
  return pid;
}

template <class Q>
void QueueKillStress::run(std::size_t capacity, std::size_t together) {
  using T = typename Q::value_type;
  const std::size_t before = arena_usage().in_use_bytes;
  const testing::OutsideMemory<Ledger> memory;
  ledger = memory.get();
  std::vector<std::uint64_t> died_decoding;
  std::size_t consumer_kills = 0;
  {
    Q queue(capacity);
    std::array<pid_t, kProducers + kConsumers> workers{};
    const auto launch = [&](std::size_t who) {
      workers[who] = start([&] {
        if constexpr (std::is_same_v<T, std::uint64_t>) {
          if (together > 1) who < kProducers ? produce_many(who, queue, together) : consume_many(queue, together);
        }
        who < kProducers ? produce(who, queue) : consume(who - kProducers, queue);
      });
    };
    for (std::size_t who = 0; who < workers.size(); ++who) launch(who);

    auto engine = testing::random_engine();
    for (std::size_t kill_number = 0; kill_number < kills(); ++kill_number) {
      // The instant is the randomness of this test; nothing is waited for.
      const timespec pause{0, static_cast<long>(engine() % 1'500'000)};
      nanosleep(&pause, nullptr);
      const std::size_t who = engine() % workers.size();
      kill(workers[who], SIGKILL);
      int status = 0;
      ASSERT_EQ(waitpid(workers[who], &status, 0), workers[who]);
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
          << "worker " << who << " ended by itself: " << status;
      if (who >= kProducers) {
        ++consumer_kills;
        auto& decoded = ledger->consumers[who - kProducers].decoded;
        if (const std::uint64_t name = decoded.exchange(0)) died_decoding.push_back(name - 1);
      }
      launch(who);
    }
    for (std::size_t who = 0; who < kProducers; ++who) {
      kill(workers[who], SIGKILL);
      waitpid(workers[who], nullptr, 0);
    }
    queue.close();  // The consumers leave when they have drained it.
    for (std::size_t who = kProducers; who < workers.size(); ++who) {
      int status = 0;
      waitpid(workers[who], &status, 0);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
    EXPECT_EQ(queue.size(), 0U);
  }
  const auto counts = ledger->items.count([&](std::uint64_t name) {
    // Only one that had it in its hands when it was killed can have it, between the instant at which get() made it its
    // own and the instruction with which it noted that.
    if constexpr (std::is_same_v<T, Noted>) EXPECT_GE(std::ranges::count(died_decoding, name), 1) << "lost: " << name;
  });
  EXPECT_EQ(counts.twice, 0U) << "invented";
  EXPECT_EQ(counts.invented, 0U);
  EXPECT_LE(counts.vanished, consumer_kills * together) << "lost";
  EXPECT_EQ(arena_usage().in_use_bytes, before);
  std::printf(
      "%zu kills (%zu of consumers): %zu puts returned, %zu items got, %zu of killed puts got, %zu items died in the "
      "hands of a consumer that had got them\n",
      kills(), consumer_kills, counts.put, counts.got, counts.unsure, counts.vanished);
  EXPECT_GT(counts.got, kills()) << "too little happened to prove anything";
}

TEST_F(QueueKillStress, SmallItemsSurviveKillsAtAnyInstant) {
  run<Queue<std::uint64_t>>(0);
}
TEST_F(QueueKillStress, BoundedQueueSurvivesKillsAtAnyInstant) {
  run<Queue<std::uint64_t>>(16);
}
TEST_F(QueueKillStress, ItemsPutAndTakenTogetherSurviveKillsAtAnyInstant) {
  run<Queue<std::uint64_t>>(1000, 200);
}
TEST_F(QueueKillStress, ItemsOfAllSizesSurviveKillsAtAnyInstant) {
  run<Queue<Noted>>(64);
}
TEST_F(QueueKillStress, LifoQueueSurvivesKillsAtAnyInstant) {
  run<LifoQueue<std::uint64_t>>(16);
}
TEST_F(QueueKillStress, ItemsOfAllSizesInALifoQueueSurviveKillsAtAnyInstant) {
  run<LifoQueue<Noted>>(64);
}
TEST_F(QueueKillStress, PriorityQueueSurvivesKillsAtAnyInstant) {
  run<PriorityQueue<std::uint64_t, MoreUrgent>>(300);
}
TEST_F(QueueKillStress, ItemsOfAllSizesInAPriorityQueueSurviveKillsAtAnyInstant) {
  run<PriorityQueue<Noted>>(64);
}

}  // namespace
}  // namespace tandem
