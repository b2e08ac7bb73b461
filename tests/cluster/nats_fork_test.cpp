// The library of NATS and a plain fork().
#include <gtest/gtest.h>

#include <string>

#include <tandem/error.hpp>
#include <tandem/process.hpp>

#include "cluster/nats_security_fixture.hpp"

namespace tandem::testing {
namespace {

class NatsForkTest : public NatsSecurityTest {};

TEST_F(NatsForkTest, ChildOfAProcessThatHadAConnectionIsToldThatItCanHaveNone) {
  start({});
  ASSERT_EQ(refusal(options()), "");
  Process child(tandem::fork, [&] {
    try {
      static_cast<void>(refusal(options()));
      return 1;
    } catch (const StateError& error) {
      return std::string(error.what()).find("forkserver") != std::string::npos ? 0 : 2;
    }
  });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

}  // namespace
}  // namespace tandem::testing
