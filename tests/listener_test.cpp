// Listener and Client over every family of sockets.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <tandem/connection.hpp>
#include <tandem/listener.hpp>
#include <tandem/queue.hpp>
#include <tandem/wait.hpp>

#include "support/leak_checked_test.hpp"
#include "support/where.hpp"

namespace tandem {
namespace {

using namespace std::chrono_literals;
using testing::LeakCheckedTest;
using testing::LeakCheckedTestWith;
using testing::Where;
using testing::Worker;

using Text = std::string;

// Long: on a busy machine a handshake may take seconds.
const SocketOptions kSecret{.key = "secret", .handshake_timeout = 60s};

Text fresh_path() {
  static int number = 0;
  return "/tmp/tandem_test_" + std::to_string(::getpid()) + "_" + std::to_string(number++);
}

enum class Family { Path, Name, Tcp4, Tcp6 };

void PrintTo(Family family, std::ostream* out) {
  constexpr const char* kNames[] = {"Path", "Name", "Tcp4", "Tcp6"};
  *out << kNames[static_cast<int>(family)];
}

Text fresh_address(Family family) {
  switch (family) {
    case Family::Path:
      return "unix:" + fresh_path();
    case Family::Name:
      return "unix:@" + fresh_path();
    case Family::Tcp4:
      return "tcp:127.0.0.1:0";
    case Family::Tcp6:
      return "tcp:[::1]:0";
  }
  return "";
}

/// In each place with each family.
class ListenerTest : public LeakCheckedTestWith<std::tuple<Where, Family>> {
 protected:
  static Where where() { return std::get<0>(GetParam()); }
  static Text address() { return fresh_address(std::get<1>(GetParam())); }
};

void greet(const Text& address, const Text& greeting) {
  Connection connection = Client(address, kSecret);
  connection.send(greeting);
  if (connection.recv<Text>() != "welcome") throw std::logic_error("no welcome");
}

// PIP-15, PIP-14
TEST_P(ListenerTest, AClientConnectsSendsAndCloses) {
  Listener listener(address(), kSecret);
  Worker worker(where(), greet, listener.address(), Text("hello"));
  worker.start();
  Connection connection = listener.accept();
  EXPECT_EQ(connection.recv<Text>(), "hello");
  connection.send(Text("welcome"));
  worker.join();
  EXPECT_THROW(static_cast<void>(connection.recv<Text>()), EndOfStream);
  EXPECT_EQ(listener.rejected(), 0U);
}

void send_two_naps_apart(const Text& address) {
  Connection connection = Client(address, kSecret);
  connection.send(1);
  static_cast<void>(connection.recv<int>());
  connection.send_bytes({});
}

// PIP-17, PIP-18
TEST_P(ListenerTest, PollSeesWhatThePeerHasSent) {
  Listener listener(address(), kSecret);
  Worker worker(where(), send_two_naps_apart, listener.address());
  worker.start();
  Connection connection = listener.accept();
  EXPECT_TRUE(connection.poll_for(60s));
  EXPECT_EQ(connection.recv<int>(), 1);
  EXPECT_FALSE(connection.poll());
  connection.send(2);
  EXPECT_TRUE(connection.poll_for(60s));
  EXPECT_TRUE(connection.recv_bytes().empty());
  EXPECT_TRUE(connection.poll_for(60s));  // The end.
  EXPECT_THROW(static_cast<void>(connection.recv_bytes()), EndOfStream);
  worker.join();
}

void echo_large(const Text& address) {
  Connection connection = Client(address, kSecret);
  connection.send_bytes(connection.recv_bytes());
}

TEST_P(ListenerTest, LargeMessagesArriveWhole) {
  Listener listener(address(), kSecret);
  Worker worker(where(), echo_large, listener.address());
  worker.start();
  Connection connection = listener.accept();
  std::vector<std::byte> large(16 << 20);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::byte>(i * 31 >> 3);
  connection.send_bytes(large);
  EXPECT_TRUE(connection.recv_bytes() == large);
  worker.join();
}

INSTANTIATE_TEST_SUITE_P(Everywhere, ListenerTest,
                         ::testing::Combine(::testing::Values(Where::Thread, Where::ForkServer, Where::Spawn,
                                                              Where::Fork),
                                            ::testing::Values(Family::Path, Family::Name, Family::Tcp4, Family::Tcp6)),
                         [](const auto& test) {
                           return ::testing::PrintToString(std::get<0>(test.param)) +
                                  ::testing::PrintToString(std::get<1>(test.param));
                         });

class ListenerFamilyTest : public LeakCheckedTestWith<Family> {};

// PIP-11
TEST_P(ListenerFamilyTest, AnAddressInUseIsAnError) {
  const Listener listener(fresh_address(GetParam()), kSecret);
  try {
    const Listener second(listener.address(), kSecret);
    FAIL() << "bound twice";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::address_in_use);
    EXPECT_NE(Text(error.what()).find(listener.address()), Text::npos) << error.what();
  }
}

// PIP-12
TEST_P(ListenerFamilyTest, TheEndOfTheScopeClosesAndAcceptAfterwardsIsAnError) {
  Text address;
  {
    Listener listener(fresh_address(GetParam()), kSecret);
    address = listener.address();
    EXPECT_EQ(listener.accept_for(1ms), std::nullopt);
    EXPECT_THROW(static_cast<void>(listener.accept_for(-1ms)), std::invalid_argument);
  }
  EXPECT_THROW(static_cast<void>(Client(address, kSecret)), std::system_error);
  Listener again(address, kSecret);
  Listener moved = std::move(again);
  moved.close();
  moved.close();
  EXPECT_TRUE(moved.closed());
  EXPECT_THROW(static_cast<void>(moved.accept()), StateError);
  EXPECT_THROW(static_cast<void>(moved.fileno()), StateError);
  if (GetParam() == Family::Path) {
    EXPECT_FALSE(std::filesystem::exists(address.substr(5)));
  }
}

TEST_P(ListenerFamilyTest, ManyClientsAreServed) {
  Listener listener(fresh_address(GetParam()), kSecret);
  constexpr int kClients = 20;
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i)
    clients.emplace_back([&, i] {
      Connection connection = Client(listener.address(), kSecret);
      connection.send(i);
      EXPECT_EQ(connection.recv<int>(), -i);
    });
  std::set<int> seen;
  for (int i = 0; i < kClients; ++i) {
    Connection connection = listener.accept();
    const int number = connection.recv<int>();
    EXPECT_TRUE(seen.insert(number).second);
    connection.send(-number);
  }
  for (std::thread& client : clients) client.join();
}

INSTANTIATE_TEST_SUITE_P(Families, ListenerFamilyTest,
                         ::testing::Values(Family::Path, Family::Name, Family::Tcp4, Family::Tcp6),
                         ::testing::PrintToStringParamName());

class ListenerHereTest : public LeakCheckedTest {};

// PIP-16
TEST_F(ListenerHereTest, AClientThatHasLeftBeforeAcceptIsStillServed) {
  for (const Text& address : {"unix:" + fresh_path(), "unix:@" + fresh_path()}) {
    Listener listener(address);
    {
      Connection connection = Client(address);
      connection.send(Text("hello"));
      connection.send_bytes({});
    }
    Connection connection = listener.accept();
    EXPECT_EQ(connection.recv<Text>(), "hello");
    EXPECT_TRUE(connection.recv_bytes().empty());
    EXPECT_THROW(static_cast<void>(connection.recv_bytes()), EndOfStream);
  }
}

// PIP-35
TEST_F(ListenerHereTest, AnAddressOfAFamilyThatThereIsNotIsRefused) {
  for (const char* address : {"pipe:\\\\.\\test", "", "/tmp/x", "unix:", "unix:@", "tcp:localhost", "tcp::80",
                              "tcp:127.0.0.1:x", "tcp:127.0.0.1:65536", "tcp:127.0.0.1:-1", "tcp:::1:80"}) {
    EXPECT_THROW(Listener(address, kSecret), std::invalid_argument) << address;
    EXPECT_THROW(static_cast<void>(Client(address, kSecret)), std::invalid_argument) << address;
  }
  EXPECT_THROW(Listener("unix:/" + Text(200, 'x'), kSecret), std::invalid_argument);
  EXPECT_THROW(Listener("tcp:127.0.0.1:0"), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(Client("tcp:127.0.0.1:1")), std::invalid_argument);
  EXPECT_THROW(Listener("unix:@x", {.key = "", .handshake_timeout = 0s}), std::invalid_argument);
  EXPECT_THROW(Listener("unix:@x", {.key = "", .backlog = 0}), std::invalid_argument);
}

TEST_F(ListenerHereTest, WhereNobodyListensIsASystemError) {
  EXPECT_THROW(static_cast<void>(Client("unix:" + fresh_path(), kSecret)), std::system_error);
  EXPECT_THROW(static_cast<void>(Client("unix:@" + fresh_path(), kSecret)), std::system_error);
  EXPECT_THROW(static_cast<void>(Client("tcp:127.0.0.1:1", kSecret)), std::system_error);
}

TEST_F(ListenerHereTest, AListenerThatNobodyServesIsGivenUpInTime) {
  Listener listener("unix:@" + fresh_path(), {.key = "", .backlog = 1});
  const SocketOptions hurried{.key = "", .handshake_timeout = 50ms};
  for (int i = 0; i < 4; ++i) {
    // At first it is accepted by the system, later the system has no room.
    try {
      static_cast<void>(Client(listener.address(), hurried));
      FAIL() << "nobody has accepted";
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code(), std::errc::timed_out) << error.what();
    }
  }
}

TEST_F(ListenerHereTest, CloseEndsAnAcceptInAnotherThread) {
  Listener listener("unix:@" + fresh_path());
  std::thread accepting([&] { EXPECT_THROW(static_cast<void>(listener.accept()), StateError); });
  listener.close();
  accepting.join();
}

TEST_F(ListenerHereTest, SeveralThreadsMayAccept) {
  Listener listener("unix:@" + fresh_path(), kSecret);
  std::atomic<int> sum{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 10; ++n) sum += listener.accept().recv<int>();
    });
  for (int i = 1; i <= 30; ++i) {
    Connection connection = Client(listener.address(), kSecret);
    connection.send(i);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum, 465);
}

TEST_F(ListenerHereTest, WaitSeesThatSomebodyHasCome) {
  Listener listener("unix:@" + fresh_path());
  Queue<int> queue;
  EXPECT_TRUE(wait_for({queue, listener.fileno()}, 1ms).empty());
  std::thread client([&] { static_cast<void>(Client(listener.address())); });
  EXPECT_EQ(wait({queue, listener.fileno()}), std::vector<std::size_t>{1});
  static_cast<void>(listener.accept());
  client.join();
}

// A connection over a socket is a Connection like any other: it can be given away between two messages.
TEST_F(ListenerHereTest, AConnectionOverASocketCanBeGivenToAProcess) {
  Listener listener("unix:@" + fresh_path());
  Connection client = Client(listener.address());
  client.send(1);
  client.send(2);
  Connection connection = listener.accept();
  EXPECT_EQ(connection.recv<int>(), 1);
  Process process([](Connection given) { given.send(given.recv<int>() + 1); }, connection);
  process.start();
  connection.close();
  EXPECT_EQ(client.recv<int>(), 3);
  process.join();
}

std::atomic<int> signals{0};

// SIG-09
TEST_F(ListenerHereTest, AcceptContinuesAfterSignals) {
  struct sigaction action{}, before{};
  action.sa_handler = [](int) { ++signals; };
  ::sigaction(SIGALRM, &action, &before);
  Listener listener("unix:@" + fresh_path(), kSecret);
  sigset_t all, mask;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &mask);
  std::thread client([&] {
    while (signals < 20) std::this_thread::yield();
    Connection connection = Client(listener.address(), kSecret);
    connection.send(1);
  });
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  const itimerval every{{0, 1000}, {0, 1000}}, never{};
  ::setitimer(ITIMER_REAL, &every, nullptr);
  EXPECT_EQ(listener.accept().recv<int>(), 1);
  ::setitimer(ITIMER_REAL, &never, nullptr);
  EXPECT_GE(signals, 20);
  client.join();
  ::sigaction(SIGALRM, &before, nullptr);
}

}  // namespace
}  // namespace tandem
