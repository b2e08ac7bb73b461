#include "support/leak_checked_test.hpp"

#include <algorithm>
#include <string>
#include <thread>

#include <tandem/process.hpp>

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

// How long a machine may be busy with something else. What comes sooner ends the wait.
constexpr milliseconds kPatience = std::chrono::seconds(60);

// The server, and the child that it keeps ready and makes when it has nothing else to do.
void start_services() {
  tandem::Process process(+[] {});
  process.start();
  process.join();
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!has_grandchild() && std::chrono::steady_clock::now() < give_up) std::this_thread::sleep_for(milliseconds(1));
}

// The unwinder opens a pipe for good when it first looks at a stack, which throwing makes it do.
void start_unwinder() {
  try {
    throw 0;
  } catch (int) {
  }
}

}  // namespace

void LeakCheckedTest::SetUp() {
  watchdog_.emplace(time_limit());
  if (keep_services()) start_services();
  start_unwinder();
  before_ = Inventory::take();
}

void LeakCheckedTest::TearDown() {
  watchdog_.reset();
  if (!before_) return;
  // A thread that was joined may still be in the kernel for a moment, and so may the peers of a killed process: there
  // is no event for either, so this looks again, less and less often.
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  std::string left = Inventory::take().more_than(*before_);
  for (milliseconds pause(1); !left.empty() && std::chrono::steady_clock::now() < give_up;
       pause = std::min(pause * 2, milliseconds(100))) {
    std::this_thread::sleep_for(pause);
    left = Inventory::take().more_than(*before_);
  }
  EXPECT_TRUE(left.empty()) << "left behind by this test:\n" << left;
}

}  // namespace tandem::testing
