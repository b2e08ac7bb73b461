// Objects of the arena: who keeps them alive, and what becomes of handles to objects that are gone.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <tandem/arena.hpp>
#include <tandem/queue.hpp>

#include "ipc/members.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::detail {
namespace {

class SharedObjectTest : public testing::LeakCheckedTest {
 protected:
  std::size_t in_use() { return arena_usage().in_use_bytes; }
};

// Runs `body` in a forked child that then kills itself, with all that it holds; gives whether it came that far.
bool run_and_kill(const std::function<void()>& body) {
  const pid_t pid = fork_member();
  if (pid == 0) {
    try {
      body();
    } catch (...) {
      _exit(1);
    }
    ::raise(SIGKILL);
  }
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST_F(SharedObjectTest, ObjectLivesAsLongAsAnyHandle) {
  const std::size_t before = in_use();
  SharedObjectPtr object = make_plain(1000);
  const ObjectId id = object->id();
  SharedObjectPtr again = attach(id, ObjectKind::Plain);
  EXPECT_EQ(again, object) << "one hold for all handles of a process";
  EXPECT_GE(in_use(), before + 1000);
  object.reset();
  EXPECT_EQ(attach(id, ObjectKind::Plain)->data(), again->data());
  again.reset();
  EXPECT_EQ(in_use(), before);
}

TEST_F(SharedObjectTest, StaleHandleIsAnError) {
  SharedObjectPtr object = make_plain(1000);
  const ObjectId id = object->id();
  object.reset();
  EXPECT_THROW(attach(id, ObjectKind::Plain), StaleHandle);
  // Another object in the same place is not taken for it, neither while it is ours nor otherwise.
  object = make_plain(1000);
  EXPECT_EQ(object->id().offset, id.offset);
  EXPECT_THROW(attach(id, ObjectKind::Plain), StaleHandle);
}

TEST_F(SharedObjectTest, HandleOfAnotherKindOrNoHandleAtAllIsAnError) {
  const SharedObjectPtr object = make_plain(1000);
  EXPECT_THROW(attach(object->id(), ObjectKind::Queue), StaleHandle);
  const auto [offset, generation] = object->id();
  EXPECT_THROW(attach({offset, generation + 1}, ObjectKind::Plain), StaleHandle);
  for (const std::uint64_t wrong :
       {std::uint64_t{0}, offset + 1, offset + 16, ~std::uint64_t{0}, std::uint64_t{1} << 39})
    EXPECT_THROW(attach({wrong, generation}, ObjectKind::Plain), StaleHandle);
}

TEST_F(SharedObjectTest, HandlesInsideItemsKeepObjectsAlive) {
  const std::size_t before = in_use();
  {
    Queue<std::vector<Queue<std::string>>> outer;
    {
      Queue<std::string> inner;
      inner.put("still here");
      outer.put({inner, inner});
    }
    std::vector<Queue<std::string>> handles = outer.get();
    EXPECT_EQ(handles.at(0), handles.at(1));
    EXPECT_EQ(handles[1].get(), "still here");
    outer.put(handles);  // Never taken: ends with the outer queue.
  }
  EXPECT_EQ(in_use(), before);
}

TEST_F(SharedObjectTest, ChainOfHandlesIsTakenApart) {
  const std::size_t before = in_use();
  {
    // Each parcel keeps the one before it.
    SharedObjectPtr last = make_plain(16);
    for (int i = 0; i < 10'000; ++i) last = make_parcel("link", 4, {last});
    EXPECT_GT(in_use(), before);
  }
  EXPECT_EQ(in_use(), before);
}

TEST_F(SharedObjectTest, ParcelKeepsBytesAndObjects) {
  const std::size_t before = in_use();
  SharedObjectPtr plain = make_plain(100'000);
  const ObjectId id = plain->id();
  SharedObjectPtr parcel = make_parcel("some bytes", 10, {plain});
  plain.reset();
  const auto [bytes, size] = parcel_bytes(*parcel);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes), size), "some bytes");
  EXPECT_NO_THROW(attach(id, ObjectKind::Plain));
  parcel.reset();
  EXPECT_THROW(attach(id, ObjectKind::Plain), StaleHandle);
  EXPECT_EQ(in_use(), before);
}

TEST_F(SharedObjectTest, ObjectWhoseMakingThrowsLeavesNothing) {
  const std::size_t before = in_use();
  const auto fail = [](void*, const void*) { throw std::runtime_error("cannot be made"); };
  for (int i = 0; i < 3; ++i) EXPECT_THROW(make_object(ObjectKind::Plain, 5000, fail, nullptr), std::runtime_error);
  EXPECT_EQ(in_use(), before);
  EXPECT_EQ(get(this_thread_slot().pending), 0U);
}

TEST_F(SharedObjectTest, ForkedChildHoldsWhatItsParentHeld) {
  Queue<std::string> queue;
  auto inner = std::make_unique<Queue<std::string>>();
  int to_child[2];
  ASSERT_EQ(::pipe(to_child), 0);
  const pid_t pid = fork_member();
  if (pid == 0) {
    char go = 0;
    const bool told = ::read(to_child[0], &go, 1) == 1;
    inner->put("from the child");  // The parent has dropped it by now.
    queue.put(inner->get());
    inner.reset();
    _exit(told ? 0 : 1);
  }
  inner.reset();
  bury_zombies();
  ASSERT_EQ(::write(to_child[1], "!", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(queue.get(), "from the child");
  ::close(to_child[0]);
  ::close(to_child[1]);
}

TEST_F(SharedObjectTest, KilledChildsHoldsAreGivenBack) {
  const std::size_t before = in_use();
  for (int round = 0; round < 3; ++round)
    EXPECT_TRUE(run_and_kill([] {
      static std::vector<SharedObjectPtr>& kept = *new std::vector<SharedObjectPtr>;
      for (int i = 0; i < 100; ++i) kept.push_back(make_plain(10'000));
      static Queue<Queue<std::string>>& outer = *new Queue<Queue<std::string>>;
      Queue<std::string> inner;
      inner.put(std::string(100'000, 'x'));
      outer.put(inner);
    }));
  EXPECT_EQ(in_use(), before);
}

TEST_F(SharedObjectTest, PlainForkIsAMemberToo) {
  const std::size_t before = in_use();
  {
    Queue<int> queue;
    const pid_t pid = ::fork();
    if (pid == 0) {
      queue.put(1);
      ::raise(SIGKILL);
    }
    ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
    EXPECT_EQ(queue.get(), 1);
  }
  EXPECT_EQ(in_use(), before);
}

// A large item on its way into a full queue is the thread's pending block, and who waits gives back what the dead held.
TEST_F(SharedObjectTest, BuryingLeavesAPendingBlockAlone) {
  const std::size_t before = in_use();
  Arena& arena = Arena::instance();
  Word& pending = this_thread_slot().pending;
  arena.allocate(pending, 5000);
  const std::uint64_t block = get(pending);
  EXPECT_TRUE(run_and_kill([] {
    static SharedObjectPtr& kept = *new SharedObjectPtr(make_plain(10'000));
    kept.get();
  }));
  sweep_family();
  EXPECT_EQ(get(pending), block);
  free_pending();
  bury_zombies();
  EXPECT_EQ(in_use(), before);
}

}  // namespace
}  // namespace tandem::detail
