/// The engines that the contract suite runs on: what a new engine adds is one more EngineKind.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <string>

#include "cluster/engine.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {

using detail::EngineAgent;
using detail::EngineAgentEvents;
using detail::EngineClient;
using detail::EngineClientEvents;
using detail::EngineOptions;

enum class EngineKind { Nats };

inline void PrintTo(EngineKind, std::ostream* out) {
  *out << "Nats";
}

/// What carries the tasks of one test: the servers of an engine, and their store. Owner: ends them.
class EngineHost {
 public:
  virtual ~EngineHost() = default;
  /// Waits until it takes connections; again, after kill(), at the same place.
  virtual void start() = 0;
  /// By SIGKILL.
  virtual void kill() = 0;
  // What follows is for a host that was killed.
  virtual void delete_store() = 0;
  virtual void save_store() = 0;
  /// To what save_store() saved.
  virtual void roll_store_back() = 0;
  /// For a client or an agent of it. The lease time is one second, the build id "build-1".
  virtual EngineOptions options() const = 0;
};

std::unique_ptr<EngineHost> make_engine_host(EngineKind kind);
/// Starts the threads that the engine's library keeps until the program ends.
void prepare_engine(EngineKind kind);
std::unique_ptr<EngineClient> connect_client(EngineKind kind, const EngineOptions& options, const std::string& client,
                                             EngineClientEvents& events);
std::unique_ptr<EngineAgent> connect_agent(EngineKind kind, const EngineOptions& options, const std::string& node,
                                           EngineAgentEvents& events);

/// A test with a host that runs.
class EngineTest : public LeakCheckedTestWith<EngineKind> {
 protected:
  void SetUp() override;
  void TearDown() override;

  EngineHost& host() { return *host_; }
  EngineOptions options() const { return host_->options(); }
  std::unique_ptr<EngineClient> client(EngineClientEvents& events, const std::string& name = "client-1") {
    return connect_client(GetParam(), options(), name, events);
  }
  std::unique_ptr<EngineAgent> agent(const std::string& node, EngineAgentEvents& events) {
    return connect_agent(GetParam(), options(), node, events);
  }

 private:
  std::unique_ptr<EngineHost> host_;
};

}  // namespace tandem::testing

#define TANDEM_TEST_ON_ENGINES(fixture)                                                             \
  INSTANTIATE_TEST_SUITE_P(Engine, fixture, ::testing::Values(::tandem::testing::EngineKind::Nats), \
                           ::testing::PrintToStringParamName())
