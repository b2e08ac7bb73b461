// The code of docs/reference/connection.md, listener.md and wait.md, and of their pitfalls: tools/check_docs holds them
// together.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <tandem/tandem.hpp>

#include "support/leak_checked_test.hpp"

using namespace std::chrono_literals;

namespace {

class ConnectionReferenceTest : public tandem::testing::LeakCheckedTest {};

void answer(tandem::Connection connection) {
  const auto question = connection.recv<std::string>();
  connection.send(question.size());
}

TEST_F(ConnectionReferenceTest, Pipe) {
  auto [here, there] = tandem::Pipe();
  tandem::Process p(answer, there);
  p.start();
  there.close();  // the child has its own

  here.send(std::string("how long is this?"));
  EXPECT_EQ(here.recv<std::size_t>(), 17);
  p.join();
}

TEST_F(ConnectionReferenceTest, Bytes) {
  auto [in, out] = tandem::Pipe(tandem::Duplex::No);
  const std::string text = "as it is";
  out.send_bytes(std::as_bytes(std::span(text)));
  std::vector<std::byte> buffer(4);
  try {
    in.recv_bytes_into(buffer);
  } catch (const tandem::BufferTooShort& error) {
    EXPECT_EQ(error.message().size(), 8);
  }
}

void greet(const std::string& address, const std::string& secret) {
  tandem::Connection connection = tandem::Client(address, {.key = secret});
  connection.send(std::string("hello"));
}

TEST_F(ConnectionReferenceTest, Listener) {
  const std::string secret = "as long and random as you can";
  tandem::Listener listener("tcp:127.0.0.1:0", {.key = secret});
  tandem::Process p(greet, listener.address(), secret);  // or another program, on another machine
  p.start();
  tandem::Connection connection = listener.accept();
  EXPECT_EQ(connection.recv<std::string>(), "hello");
  p.join();
}

TEST_F(ConnectionReferenceTest, Wait) {
  auto [here, there] = tandem::Pipe();
  tandem::Queue<int> jobs;
  tandem::Event stop;
  tandem::Process p(answer, there);
  p.start();
  jobs.put(1);
  std::vector<std::size_t> ready = tandem::wait({here, jobs, stop, p});
  EXPECT_EQ(ready, std::vector<std::size_t>{1});  // the place of jobs
  EXPECT_EQ(jobs.get(), 1);
  ready = tandem::wait_for({here, jobs, stop}, 1ms);
  EXPECT_TRUE(ready.empty());
  here.send(std::string("that is all"));
  p.join();
}

TEST_F(ConnectionReferenceTest, PitfallOfAnEndThatIsOpenHereToo) {
  {
    auto [here, there] = tandem::Pipe();
    tandem::Process p(answer, there);
    p.start();
    here.send(std::string("?"));
    EXPECT_EQ(here.recv<std::size_t>(), 1);
    p.join();
    EXPECT_FALSE(here.poll_for(10ms));  // the child is gone, but this process could still send
  }
  {
    auto [here, there] = tandem::Pipe();
    tandem::Process p(answer, there);
    p.start();
    there.close();  // right after start()
    here.send(std::string("?"));
    EXPECT_EQ(here.recv<std::size_t>(), 1);
    EXPECT_THROW(static_cast<void>(here.recv<int>()), tandem::EndOfStream);
    p.join();
  }
}

TEST_F(ConnectionReferenceTest, PitfallOfADescriptorInAQueue) {
  tandem::Queue<tandem::Descriptor> logs;
  const auto log = tandem::Descriptor::duplicate(STDERR_FILENO);
  EXPECT_THROW(logs.put(log), tandem::WireError);

  auto [in, out] = tandem::Pipe(tandem::Duplex::No);
  out.send(log);
  EXPECT_TRUE(in.recv<tandem::Descriptor>());
}

TEST_F(ConnectionReferenceTest, PitfallOfHandlesOverASocket) {
  tandem::Listener listener("unix:@tandem_test_pitfall_" + std::to_string(::getpid()));
  tandem::Connection client = tandem::Client(listener.address());
  tandem::Connection connection = listener.accept();
  tandem::Queue<int> results;
  EXPECT_THROW(client.send(results), tandem::WireError);  // it means nothing to a stranger

  auto [here, there] = tandem::Pipe();
  here.send(results);  // within the family
  there.recv<tandem::Queue<int>>().put(1);
  EXPECT_EQ(results.get(), 1);
}

}  // namespace
