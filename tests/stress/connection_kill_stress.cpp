// Senders and receivers of one pipe are killed at random instants: nothing hangs, every message is whole and comes at
// most once, and the arena is as it was.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <thread>

#include <tandem/arena.hpp>
#include <tandem/connection.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/queue.hpp>

#include "core/system.hpp"
#include "ipc/family.hpp"
#include "support/leak_checked_test.hpp"
#include "support/random.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kSenders = 2;
constexpr std::size_t kReceivers = 2;
constexpr std::uint64_t kMostMessages = 4'000'000;  // Of each sender: more than it can send in the time.

/// What survives all kills, in memory that the pipe does not know of.
struct Ledger {
  std::array<std::atomic<std::uint64_t>, kSenders> begun;
  std::array<std::array<std::atomic<std::uint8_t>, kMostMessages>, kSenders> received;
  std::atomic<std::uint64_t> count;
  std::atomic<std::uint64_t> wrong;
};
Ledger* ledger = nullptr;

/// Small, large, with a handle, with a descriptor.
struct Mixed {
  std::uint64_t sender = 0;
  std::uint64_t number = 0;
  std::string filler;
  std::optional<Queue<std::uint64_t>> queue{};
  std::optional<Descriptor> descriptor{};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(sender, number, filler, queue, descriptor);
  }
};

std::string filler_of(std::uint64_t number) {
  constexpr std::array<std::size_t, 6> kSizes{0, 10, 500, 20'000, 40'000, 200'000};
  return std::string(kSizes[number % kSizes.size()], static_cast<char>('a' + number % 26));
}

[[noreturn]] void send_on(std::size_t me, Connection out) {
  for (std::uint64_t number = ledger->begun[me]; number < kMostMessages; ++number) {
    ledger->begun[me] = number + 1;
    Mixed message{me, number, filler_of(number)};
    if (number % 5 == 0) {
      message.queue.emplace();
      message.queue->put(number);
    }
    if (number % 7 == 0) message.descriptor = Descriptor::duplicate(STDERR_FILENO);
    out.send(message);
  }
  _exit(0);
}

[[noreturn]] void receive_from(Connection in) {
  for (;;) {
    Mixed message = in.recv<Mixed>();
    bool right = message.sender < kSenders && message.number < kMostMessages &&
                 message.filler == filler_of(message.number) &&
                 message.queue.has_value() == (message.number % 5 == 0) &&
                 message.descriptor.has_value() == (message.number % 7 == 0);
    if (right && message.queue) right = message.queue->get() == message.number;
    if (right) right = ledger->received[message.sender][message.number].fetch_add(1) == 0;
    if (!right) ++ledger->wrong;
    ++ledger->count;
  }
}

template <class Body>
pid_t start(Body body) {
  const pid_t pid = detail::fork_member();
  if (pid < 0) detail::throw_errno("cannot fork");
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "a worker threw: %s\n", error.what());
    ++ledger->wrong;
  }
  _exit(1);
}

class ConnectionKillStress : public testing::LeakCheckedTest {
 protected:
  std::chrono::seconds time_limit() const override { return 1700s; }
};

TEST_F(ConnectionKillStress, SendersAndReceiversAreKilledAtRandom) {
  const char* const soak = std::getenv("TANDEM_SOAK");
  const int kills = soak != nullptr && *soak == '1' ? 20'000 : testing::kSanitized ? 500 : 2'000;
  void* const memory = ::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  ledger = static_cast<Ledger*>(memory);  // Zeroed pages are what it starts as.
  auto engine = testing::random_engine();
  const std::size_t before = arena_usage().in_use_bytes;
  {
    auto [in, out] = Pipe(Duplex::No);
    std::array<pid_t, kSenders + kReceivers> workers{};
    const auto start_one = [&, &reader = in, &writer = out](std::size_t i) {
      workers[i] = i < kSenders ? start([&] { send_on(i, writer); }) : start([&] { receive_from(reader); });
    };
    for (std::size_t i = 0; i < workers.size(); ++i) start_one(i);
    for (int n = 0; n < kills; ++n) {
      std::this_thread::sleep_for(std::chrono::microseconds(engine() % 3000));
      const std::size_t victim = engine() % workers.size();
      ::kill(workers[victim], SIGKILL);
      ASSERT_EQ(::waitpid(workers[victim], nullptr, 0), workers[victim]);
      start_one(victim);
    }
    // Those who are left still get on.
    for (const std::uint64_t count = ledger->count; ledger->count < count + 100;) std::this_thread::yield();
    for (const pid_t worker : workers) {
      ::kill(worker, SIGKILL);
      ::waitpid(worker, nullptr, 0);
    }
  }
  EXPECT_EQ(ledger->wrong, 0U);
  EXPECT_EQ(arena_usage().in_use_bytes, before);
  std::printf("%llu messages received, %llu begun\n", static_cast<unsigned long long>(ledger->count),
              static_cast<unsigned long long>(ledger->begun[0] + ledger->begun[1]));
  ::munmap(memory, sizeof(Ledger));
}

}  // namespace
}  // namespace tandem
