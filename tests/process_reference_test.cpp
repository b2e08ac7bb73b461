// The code of docs/reference/process.md and start_method.md.
#include <gmock/gmock.h>
#include <poll.h>
#include <unistd.h>

#include <iostream>
#include <stdexcept>

#include <tandem/descriptor.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

class ProcessReferenceTest : public LeakCheckedTest {};

int parse(std::string text) {
  if (text.empty()) throw std::invalid_argument("nothing to parse");
  return static_cast<int>(text.size());
}

TEST_F(ProcessReferenceTest, AReport) {
  ::testing::internal::CaptureStderr();
  std::ostream& log = std::cerr;
  tandem::Process p(parse, std::string());
  p.start();
  p.join();
  if (auto report = p.crash_report()) log << report->to_string() << '\n';
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              ::testing::HasSubstr("uncaught std::invalid_argument: nothing to parse"));
}

void copy_to(tandem::Descriptor out) {
  static_cast<void>(!::write(out.get(), "done\n", 5));
}

TEST_F(ProcessReferenceTest, ADescriptor) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  tandem::Process p(copy_to, tandem::Descriptor(ends[1]));
  p.start();
  p.join();
  char text[5];
  EXPECT_EQ(::read(ends[0], text, sizeof text), 5);
  ::close(ends[0]);
}

void render(int frame) {
  static_cast<void>(frame);
}

TEST_F(ProcessReferenceTest, TheFirstThatEnds) {
  tandem::Process first(render, 1), second(render, 2);
  first.start();
  second.start();
  pollfd ends[] = {{first.sentinel(), POLLIN, 0}, {second.sentinel(), POLLIN, 0}};
  ::poll(ends, 2, -1);
  EXPECT_TRUE(ends[0].revents != 0 || ends[1].revents != 0);
}

TEST_F(ProcessReferenceTest, AMethod) {
  tandem::Queue<int> sizes;
  std::vector<int> table(1000, 7);
  tandem::ProcessOptions options;
  options.start_method = tandem::StartMethod::Spawn;  // This one process.
  tandem::Process spawned(options, render, 1);
  tandem::Process forked(tandem::fork, [&table, sizes]() mutable { sizes.put(table[500]); });
  spawned.start();
  forked.start();
  EXPECT_EQ(sizes.get(), 7);
}

}  // namespace
}  // namespace tandem::testing
