// The code of docs/reference/queue.md, lifo_queue.md and priority_queue.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

class QueueReferenceTest : public LeakCheckedTest {};

TEST_F(QueueReferenceTest, AViewOfALargeItem) {
  tandem::Queue<std::vector<float>> images;
  images.put(std::vector<float>(1'000'000, 0.5F));
  auto image = images.get_view();  // *image is a std::span<const float>
  const float brightest = *std::max_element((*image).begin(), (*image).end());
  image.drop();  // now the item is taken
  EXPECT_EQ(brightest, 0.5F);
}

void look_into(tandem::LifoQueue<std::string> folders, tandem::Queue<std::string> found) {
  for (const std::string& folder : folders) {
    if (folder.size() < 6) {
      folders.put(folder + "/a");
      folders.put(folder + "/b");
    }
    found.put(folder);
    folders.task_done();
  }
}

TEST_F(QueueReferenceTest, ALifoQueueGoesDeepFirst) {
  tandem::LifoQueue<std::string> folders;
  tandem::Queue<std::string> found;
  folders.put("top");
  tandem::Process p(look_into, folders, found);
  p.start();
  folders.join();  // every folder that was put is dealt with
  folders.close();
  p.join();
  EXPECT_EQ(found.get_many(9),
            (std::vector<std::string>{"top", "top/b", "top/b/b", "top/b/a", "top/a", "top/a/b", "top/a/a"}));
}

struct Job {
  int priority = 0;
  int number = 0;
  bool operator<(const Job& other) const { return priority < other.priority; }
};

void note_numbers(tandem::PriorityQueue<Job> jobs, tandem::Queue<int> numbers) {
  for (const Job& job : jobs) numbers.put(job.number);
}

TEST_F(QueueReferenceTest, APriorityQueueGivesTheSmallestFirst) {
  tandem::PriorityQueue<Job> jobs;
  tandem::Queue<int> numbers;
  jobs.put({2, 1});
  jobs.put({1, 2});
  jobs.put({2, 3});
  jobs.close();
  tandem::Process p(note_numbers, jobs, numbers);
  p.start();
  p.join();
  EXPECT_EQ(numbers.get_many(9), (std::vector{2, 1, 3}));
}

TEST_F(QueueReferenceTest, AnotherOrder) {
  tandem::PriorityQueue<std::string, std::greater<std::string>> last_first;
  last_first.put_many(std::vector<std::string>{"a", "c", "b"});
  EXPECT_EQ(last_first.get(), "c");
}

// A large part that is not compared: only where it is in a queue of its own goes through the PriorityQueue.
struct Picture {
  int priority = 0;
  tandem::Queue<std::string> pixels;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(priority, pixels);
  }
  bool operator<(const Picture& other) const { return priority < other.priority; }
};

TEST_F(QueueReferenceTest, ALargePartInAQueueOfItsOwn) {
  tandem::PriorityQueue<Picture> pictures;
  for (int priority : {2, 1}) {
    Picture picture;
    picture.priority = priority;
    picture.pixels.put(std::string(1 << 20, static_cast<char>('0' + priority)));
    pictures.put(picture);
  }
  EXPECT_EQ(pictures.get().pixels.get(), std::string(1 << 20, '1'));
}

}  // namespace
}  // namespace tandem::testing
