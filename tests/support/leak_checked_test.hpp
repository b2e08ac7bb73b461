/// The fixture of every test of something that crosses a boundary.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <optional>

#include "support/leftovers.hpp"
#include "support/watchdog.hpp"

namespace tandem::testing {

/// Fails the test if it leaves a child process, a thread, a descriptor, a name in /dev/shm or /tmp, or a byte of the
/// arena behind, and says what. Ends a hang (see Watchdog).
///
/// What Tandem keeps from the first started process on until the program ends (the watcher thread, the server, the
/// arena) is there before the test begins, unless keep_services() says no.
class LeakCheckedTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// How long the test may take on a quiet machine. Override it for a test that does much.
  virtual std::chrono::seconds time_limit() const { return std::chrono::seconds(60); }
  /// Whether the services are started before the test. A test of what happens on their first use overrides it; then
  /// they count as left behind, so it runs its body in a process of its own.
  virtual bool keep_services() const { return true; }

 private:
  std::optional<Watchdog> watchdog_;
  std::optional<Inventory> before_;
};

/// The same for a test that runs once for each value of a parameter.
template <class Parameter>
class LeakCheckedTestWith : public LeakCheckedTest, public ::testing::WithParamInterface<Parameter> {};

}  // namespace tandem::testing
