#include "support/leak_checked_test.hpp"

#include <string>
#include <thread>

#include <tandem/process.hpp>

namespace tandem::testing {
namespace {

using std::chrono::milliseconds;

// The server, and the child that it keeps ready and makes when it has nothing else to do.
void start_services() {
  tandem::Process process(+[] {});
  process.start();
  process.join();
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);  // If the machine is busy.
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
  const std::string left = Inventory::left_since(*before_);
  EXPECT_TRUE(left.empty()) << "left behind by this test:\n" << left;
}

}  // namespace tandem::testing
