/// Runs one test body for each kind of queue, in each of the places where work can run.
///
///   class QueuePlaceTest : public EveryQueueTest {};
///   TANDEM_TEST_EVERY_QUEUE(QueuePlaceTest);
///   TANDEM_QUEUE_TEST(QueuePlaceTest, ItemArrives) {   // a template of AnyQueue, with a parameter `where`
///     AnyQueue<int> queue;
///     Worker worker(where, put_one<AnyQueue<int>>, queue);
///     worker.start();
///     worker.join();
///     EXPECT_EQ(queue.get(), 1);
///   }
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/queue.hpp>

#include "support/where.hpp"

namespace tandem::testing {

enum class QueueKind { Fifo, Lifo, Priority };

struct QueueCase {
  QueueKind kind;
  Where where;
};

inline std::string name_of(const QueueCase& queue_case) {
  const char* kind = queue_case.kind == QueueKind::Fifo   ? "Queue"
                     : queue_case.kind == QueueKind::Lifo ? "LifoQueue"
                                                          : "PriorityQueue";
  return std::string(kind) + "_" + name_of(queue_case.where);
}
inline void PrintTo(const QueueCase& queue_case, std::ostream* out) {
  *out << name_of(queue_case);
}

using EveryQueueTest = LeakCheckedTestWith<QueueCase>;

/// Finds all items equal, so that they come in the order in which they were put.
struct NoneFirst {
  template <class T>
  bool operator()(const T&, const T&) const {
    return false;
  }
};
template <class T>
inline constexpr bool kHasLess = requires(const T& a, const T& b) { a < b; };

template <class T>
using FifoOf = Queue<T>;
template <class T>
using LifoOf = LifoQueue<T>;
template <class T>
using PriorityOf = PriorityQueue<T, std::conditional_t<kHasLess<T>, std::less<T>, NoneFirst>>;

template <template <class> class AnyQueue>
inline constexpr bool kNewestFirst = std::is_same_v<AnyQueue<int>, LifoQueue<int>>;
template <template <class> class AnyQueue>
inline constexpr bool kSmallestFirst = std::is_same_v<AnyQueue<int>, PriorityQueue<int>>;

inline std::vector<QueueCase> queue_cases(std::initializer_list<Where> places) {
  std::vector<QueueCase> cases;
  for (const QueueKind kind : {QueueKind::Fifo, QueueKind::Lifo, QueueKind::Priority})
    for (const Where where : places) cases.push_back({kind, where});
  return cases;
}
inline std::vector<QueueCase> all_queue_cases() {
  return queue_cases({Where::Thread, Where::ForkServer, Where::Spawn, Where::Fork});
}
inline std::vector<QueueCase> all_queue_kinds() {
  return queue_cases({Where::Fork});
}

/// Ascending items in the order in which they come out when all were put in this order; and the order in which to put
/// them so that they come out in this one.
template <template <class> class AnyQueue, class T>
std::vector<T> as_taken(std::vector<T> items) {
  if (kNewestFirst<AnyQueue>) std::reverse(items.begin(), items.end());
  return items;
}

/// Items as they were taken while others were being put: of a LifoQueue in ascending order, because theirs depends on
/// who was faster.
template <template <class> class AnyQueue, class T>
std::vector<T> as_raced(std::vector<T> items) {
  if (kNewestFirst<AnyQueue>) std::sort(items.begin(), items.end());
  return items;
}
/// The numbers from `first` up to `last`, which is not one of them.
inline std::vector<int> numbers(int first, int last) {
  std::vector<int> all;
  for (int i = first; i < last; ++i) all.push_back(i);
  return all;
}
/// Puts them.
template <class Q>
void put_range(Q queue, int first, int last) {
  for (int i = first; i < last; ++i) queue.put(i);
}
/// What a queue holds, taken out; the queue is closed.
template <class Q>
std::vector<typename Q::value_type> drain(Q queue) {
  queue.close();
  std::vector<typename Q::value_type> items;
  for (auto& item : queue) items.push_back(std::move(item));
  return items;
}

}  // namespace tandem::testing

#define TANDEM_QUEUE_TEST(fixture, name)                                         \
  template <template <class> class AnyQueue>                                     \
  void fixture##_##name##_body([[maybe_unused]] ::tandem::testing::Where where); \
  TEST_P(fixture, name) {                                                        \
    const ::tandem::testing::Where where = GetParam().where;                     \
    switch (GetParam().kind) {                                                   \
      case ::tandem::testing::QueueKind::Fifo:                                   \
        return fixture##_##name##_body<::tandem::testing::FifoOf>(where);        \
      case ::tandem::testing::QueueKind::Lifo:                                   \
        return fixture##_##name##_body<::tandem::testing::LifoOf>(where);        \
      case ::tandem::testing::QueueKind::Priority:                               \
        return fixture##_##name##_body<::tandem::testing::PriorityOf>(where);    \
    }                                                                            \
  }                                                                              \
  template <template <class> class AnyQueue>                                     \
  void fixture##_##name##_body([[maybe_unused]] ::tandem::testing::Where where)

/// Makes the tests of a fixture derived from EveryQueueTest run for each kind in all four places ...
#define TANDEM_TEST_EVERY_QUEUE(fixture)                                                               \
  INSTANTIATE_TEST_SUITE_P(Queues, fixture, ::testing::ValuesIn(::tandem::testing::all_queue_cases()), \
                           ::testing::PrintToStringParamName())
/// ... or once for each kind, where no worker is needed.
#define TANDEM_TEST_EVERY_QUEUE_KIND(fixture)                                                          \
  INSTANTIATE_TEST_SUITE_P(Queues, fixture, ::testing::ValuesIn(::tandem::testing::all_queue_kinds()), \
                           ::testing::PrintToStringParamName())
