// What a queue carries from one place to another: structures of any kind, and other queues among them.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <tandem/queue.hpp>

#include "support/round_trip.hpp"
#include "support/where.hpp"

namespace {

using tandem::Queue;
using tandem::testing::EverywhereTest;
using tandem::testing::round_trip;
using tandem::testing::Worker;

struct Record {
  std::string name;
  std::map<std::string, std::vector<double>> series;
  std::optional<std::chrono::milliseconds> age;
  std::filesystem::path file;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, series, age, file);
  }
  bool operator==(const Record&) const = default;
};

using Mixed =
    std::map<std::string, std::variant<bool, long, double, std::string, std::vector<Record>, std::pair<int, Record>>>;

Mixed an_example() {
  const Record record{"r", {{"a", {1, 2.5}}, {"b", {}}}, std::chrono::milliseconds(5), "/tmp/x"};
  return {{"flag", true},
          {"number", 123456789012},
          {"real", -0.5},
          {"text", std::string("with a \0 in it", 14)},
          {"records", std::vector<Record>{record, {}, record}},
          {"pair", std::pair(3, record)}};
}

void echo(Queue<Mixed> in, Queue<Mixed> out) {
  for (const Mixed& item : in) out.put(item);
}

class QueueWireTest : public EverywhereTest {};

// QUE-45
TEST_P(QueueWireTest, AMixedStructureSurvivesTheRoundTrip) {
  Queue<Mixed> there;
  Queue<Mixed> back;
  Worker worker(GetParam(), echo, there, back);
  worker.start();
  there.put(an_example());
  there.put({});
  EXPECT_EQ(back.get(), an_example());
  EXPECT_EQ(back.get(), Mixed());
  there.close();
  worker.join();
}

using Book = std::tuple<std::vector<Queue<int>>, std::map<std::string, Queue<int>>, std::optional<Queue<int>>,
                        std::variant<int, Queue<int>>, std::array<Queue<int>, 1>, std::pair<int, Queue<int>>>;

void write_into(Queue<Book> books) {
  Book book = books.get();
  std::get<0>(book).at(1).put(0);
  std::get<1>(book).at("key").put(1);
  std::get<2>(book)->put(2);
  std::get<Queue<int>>(std::get<3>(book)).put(3);
  std::get<4>(book)[0].put(4);
  std::get<5>(book).second.put(5);
}

TEST_P(QueueWireTest, QueuesTravelInsideOfContainers) {
  Queue<Book> books;
  Queue<int> answers;
  Worker worker(GetParam(), write_into, books);
  worker.start();
  books.put({{Queue<int>(), answers}, {{"key", answers}}, answers, answers, {answers}, {1, answers}});
  for (int i = 0; i < 6; ++i) EXPECT_EQ(answers.get(), i);
  worker.join();
}

void write_answer(std::vector<Queue<std::string>> queues) {
  for (auto& queue : queues) queue.put("here");
}

TEST_P(QueueWireTest, QueuesTravelInsideOfArguments) {
  std::vector<Queue<std::string>> queues(3);
  Worker worker(GetParam(), write_answer, queues);
  worker.start();
  for (auto& queue : queues) EXPECT_EQ(queue.get(), "here");
  worker.join();
}

TANDEM_TEST_EVERYWHERE(QueueWireTest);

class QueueHandleWireTest : public tandem::testing::LeakCheckedTest {};

TEST_F(QueueHandleWireTest, AHandleStaysTheSameQueue) {
  const Queue<int> queue;
  EXPECT_EQ(round_trip(queue), queue);
  EXPECT_EQ(round_trip(std::vector{queue, queue}), (std::vector{queue, queue}));
}

TEST_F(QueueHandleWireTest, AMessageHoldsEachObjectOnce) {
  tandem::detail::Encoder encoder;
  std::vector<Queue<int>> queues(40);
  encode(encoder, std::pair(queues, queues));
  EXPECT_EQ(encoder.objects().size(), 40U);
  encoder.clear();
  EXPECT_TRUE(encoder.objects().empty());
}

TEST_F(QueueHandleWireTest, AHandleThatWasMovedFromIsRefused) {
  Queue<int> queue;
  const Queue<int> other(std::move(queue));
  tandem::detail::Encoder encoder;
  EXPECT_THROW(encode(encoder, queue), tandem::WireError);  // NOLINT(bugprone-use-after-move): that is what is tested
}

TEST_F(QueueHandleWireTest, AHandleWhoseQueueIsGoneIsStale) {
  tandem::detail::Encoder encoder;
  {
    const Queue<int> queue;
    encode(encoder, queue);
    std::vector<std::byte> bytes(encoder.bytes().begin(), encoder.bytes().end());
    encoder.clear();
    encoder.write(bytes.data(), bytes.size());
  }
  tandem::detail::Decoder decoder(encoder.bytes());
  EXPECT_THROW(tandem::detail::decode<Queue<int>>(decoder), tandem::StaleHandle);
}

}  // namespace
