// Every item of very many arrives once and in the order of its putter: threads and processes, few and several, single
// items and many at once, small and large, with a bound and without.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <tandem/queue.hpp>

#include "ipc/family.hpp"
#include "support/leak_checked_test.hpp"
#include "support/outside_memory.hpp"
#include "support/sanitizers.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostSides = 4;

/// What each taker got of each putter: how many, their sum, and how many came before one that was put earlier.
struct Tally {
  struct Row {
    std::atomic<std::uint64_t> count, sum, out_of_order, invented;
  };
  std::array<std::array<Row, kMostSides>, kMostSides> got;  // [taker][putter]
};
Tally* tally = nullptr;

// An item is its putter and its number there.
constexpr int kNumberBits = 48;
constexpr std::uint64_t kNumber = (std::uint64_t{1} << kNumberBits) - 1;

template <class T>
T make_item(std::size_t putter, std::uint64_t number) {
  const std::uint64_t name = std::uint64_t{putter} << kNumberBits | number;
  if constexpr (std::is_same_v<T, std::uint64_t>) {
    return name;
  } else {
    // Some fit into a slot, most are blocks of their own.
    std::string text(number % 5 == 0 ? 16 : 200 + number % 3000, static_cast<char>('a' + number % 26));
    std::copy_n(reinterpret_cast<const char*>(&name), sizeof(name), text.begin());
    return text;
  }
}
std::uint64_t name_in(std::uint64_t item) {
  return item;
}
std::uint64_t name_in(const std::string& item) {
  std::uint64_t name = 0;
  std::copy_n(item.begin(), std::min(item.size(), sizeof(name)), reinterpret_cast<char*>(&name));
  return name;
}

template <class T>
void put_all(std::size_t me, Queue<T> queue, std::uint64_t items, std::size_t batch) {
  // A queue without a bound would grow to its limit if it were filled faster than it is emptied for long.
  constexpr std::size_t kEnough = 1'000'000;
  std::vector<T> several;
  for (std::uint64_t number = 0; number < items;) {
    while (queue.capacity() == 0 && number % 4096 < batch && queue.size() > kEnough) sched_yield();
    if (batch == 1) {
      queue.put(make_item<T>(me, number++));
      continue;
    }
    several.clear();
    while (several.size() < batch && number < items) several.push_back(make_item<T>(me, number++));
    queue.put_many(several);
  }
}

template <class T>
void take_all(std::size_t me, Queue<T> queue, std::size_t batch) {
  std::array<std::uint64_t, kMostSides> count{}, sum{}, next{}, out_of_order{}, invented{};
  const auto note = [&](const T& item) {
    const std::uint64_t name = name_in(item), number = name & kNumber;
    const std::size_t putter = std::min<std::size_t>(name >> kNumberBits, kMostSides - 1);
    if (number < next[putter]) ++out_of_order[putter];
    if constexpr (!std::is_same_v<T, std::uint64_t>)
      if (item != make_item<T>(name >> kNumberBits, number)) ++invented[putter];
    next[putter] = number + 1;
    ++count[putter];
    sum[putter] += number;
  };
  try {
    for (;;) {
      if (batch == 1)
        note(queue.get());
      else
        for (const T& item : queue.get_many(batch)) note(item);
    }
  } catch (const QueueClosed&) {
  }
  for (std::size_t putter = 0; putter < kMostSides; ++putter) {
    Tally::Row& row = tally->got[me][putter];
    row.count += count[putter];
    row.sum += sum[putter];
    row.out_of_order += out_of_order[putter];
    row.invented += invented[putter];
  }
}

/// Threads of this process, or forked ones.
class Crew {
 public:
  explicit Crew(bool processes) : processes_(processes) {}
  template <class Body>
  void start(Body body) {
    if (!processes_) {
      threads_.emplace_back(body);
      return;
    }
    const pid_t pid = detail::fork_member();
    if (pid == 0) {
      body();
      _exit(0);
    }
    EXPECT_GT(pid, 0);
    pids_.push_back(pid);
  }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    for (const pid_t pid : pids_) {
      int status = 0;
      waitpid(pid, &status, 0);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
    threads_.clear();
    pids_.clear();
  }

 private:
  const bool processes_;
  std::vector<std::thread> threads_;
  std::vector<pid_t> pids_;
};

struct Course {
  const char* name;
  bool processes;
  std::size_t sides, batch, capacity;
  bool large;
  std::uint64_t share;  // Of all items of a soak, in thousandths.
};
void PrintTo(const Course& course, std::ostream* out) {
  *out << course.name;
}

class QueueStress : public testing::LeakCheckedTestWith<Course> {
 protected:
  std::chrono::seconds time_limit() const override { return 1500s; }

  static std::uint64_t items(std::uint64_t share) {
    if (std::getenv("TANDEM_SOAK") != nullptr) return share * 1'000'000;  // 1e9 in all.
    return share * (testing::kSanitized ? 1'000 : 10'000);
  }

  template <class T>
  static void run() {
    const Course& course = GetParam();
    const testing::OutsideMemory<Tally> memory;
    tally = memory.get();
    const std::uint64_t each = items(course.share) / course.sides;
    const auto begin = std::chrono::steady_clock::now();
    {
      Queue<T> queue(course.capacity);
      Crew putters(course.processes), takers(course.processes);
      for (std::size_t who = 0; who < course.sides; ++who) {
        takers.start([=] { take_all<T>(who, queue, course.batch); });
        putters.start([=] { put_all<T>(who, queue, each, course.batch); });
      }
      putters.join();
      queue.close();
      takers.join();
      EXPECT_EQ(queue.size(), 0U);
    }
    for (std::size_t putter = 0; putter < course.sides; ++putter) {
      std::uint64_t count = 0, sum = 0, out_of_order = 0, invented = 0;
      for (const auto& taker : tally->got) {
        count += taker[putter].count;
        sum += taker[putter].sum;
        out_of_order += taker[putter].out_of_order;
        invented += taker[putter].invented;
      }
      EXPECT_EQ(count, each);
      EXPECT_EQ(sum, each * (each - 1) / 2) << "one lost and another twice";
      EXPECT_EQ(out_of_order, 0U);
      EXPECT_EQ(invented, 0U);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("%s: %llu items in %.1f s\n", course.name, static_cast<unsigned long long>(each * course.sides),
                took.count());
  }
};

TEST_P(QueueStress, EveryItemArrivesOnceAndInOrder) {
  if (GetParam().large)
    run<std::string>();
  else
    run<std::uint64_t>();
}

constexpr bool kThreads = false, kProcesses = true;
// The shares are as fast as each course is, and 1,000 together.
constexpr Course kCourses[] = {
    {"Threads1", kThreads, 1, 1, 0, false, 90},
    {"Threads1Bounded", kThreads, 1, 1, 1024, false, 90},
    {"Threads2", kThreads, 2, 1, 1024, false, 40},
    {"Threads4", kThreads, 4, 1, 64, false, 20},
    {"Threads4Many", kThreads, 4, 100, 0, false, 140},
    {"Threads2Large", kThreads, 2, 1, 64, true, 3},
    {"Processes1", kProcesses, 1, 1, 0, false, 90},
    {"Processes1Bounded", kProcesses, 1, 1, 1024, false, 90},
    {"Processes1Many", kProcesses, 1, 100, 1024, false, 180},
    {"Processes2", kProcesses, 2, 1, 1024, false, 40},
    {"Processes2Many", kProcesses, 2, 100, 0, false, 150},
    {"Processes4", kProcesses, 4, 1, 64, false, 20},
    {"Processes4Many", kProcesses, 4, 7, 10, false, 43},
    {"Processes2Large", kProcesses, 2, 1, 64, true, 2},
    {"Processes4Large", kProcesses, 4, 3, 0, true, 2},
};
INSTANTIATE_TEST_SUITE_P(, QueueStress, ::testing::ValuesIn(kCourses),
                         [](const auto& course) { return std::string(course.param.name); });

}  // namespace
}  // namespace tandem
