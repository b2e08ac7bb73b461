/// The fixture of tests of who may talk to whom.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "cluster/engine_host.hpp"
#include "cluster/engine_records.hpp"
#include "cluster/nats_server.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {

class NatsSecurityTest : public LeakCheckedTest {
 protected:
  void SetUp() override {
    prepare_engine(EngineKind::Nats);
    LeakCheckedTest::SetUp();
  }

  void TearDown() override {
    server_.reset();
    LeakCheckedTest::TearDown();
  }

  void start(NatsServerSettings settings) {
    server_ = std::make_unique<NatsServer>(std::move(settings));
    server_->start();
  }
  EngineOptions options() const {
    EngineOptions options;
    options.url = fmt::format("nats://{}:{}", server_->host(), server_->port());
    options.build_id = "build-1";
    options.connect_wait = kPatience;
    return options;
  }
  /// Empty if it connects, else why not.
  std::string refusal(const EngineOptions& options) {
    ClientRecord record;
    try {
      const auto client = connect_client(EngineKind::Nats, options, "client-1", record);
      static_cast<void>(census_of(*client));
      return {};
    } catch (const detail::EngineError& error) {
      return error.what();
    }
  }

  std::unique_ptr<NatsServer> server_;
};

}  // namespace tandem::testing
