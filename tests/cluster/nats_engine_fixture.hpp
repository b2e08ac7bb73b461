/// The fixture of tests of what only the engine of NATS has.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nats/nats.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "cluster/engine_host.hpp"
#include "cluster/engine_records.hpp"
#include "cluster/nats_link.hpp"
#include "cluster/nats_server.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {

class NatsEngineTest : public LeakCheckedTest {
 protected:
  void SetUp() override {
    prepare_engine(EngineKind::Nats);
    LeakCheckedTest::SetUp();
  }
  void start(NatsServerSettings settings = {}) {
    server_ = std::make_unique<NatsServer>(std::move(settings));
    server_->start();
    options_.url = fmt::format("nats://{}:{}", server_->host(), server_->port());
    options_.build_id = "build-1";
    options_.lease_time = std::chrono::seconds(1);
    options_.connect_wait = kPatience;
    EngineOptions copy = options_;
    const auto servers = detail::take_servers(copy);
    link_ = std::make_unique<detail::NatsLink>(copy, servers, "test", detail::NatsLink::Callbacks{});
    jsOptions patient;
    jsOptions_Init(&patient);
    patient.Wait = std::chrono::milliseconds(kPatience).count();
    jsCtx* made = nullptr;
    ASSERT_EQ(natsConnection_JetStream(&made, link_->get(), &patient), NATS_OK);
    requests_.reset(made);
  }
  void TearDown() override {
    requests_.reset();
    link_.reset();
    server_.reset();
    LeakCheckedTest::TearDown();
  }
  auto client() { return connect_client(EngineKind::Nats, options_, "client-1", record_); }
  auto agent() { return connect_agent(EngineKind::Nats, options_, "node-a", agent_record_); }

  /// How many messages a stream has.
  std::uint64_t messages(const char* stream) {
    jsStreamInfo* made = nullptr;
    EXPECT_EQ(js_GetStreamInfo(&made, requests_.get(), stream, nullptr, nullptr), NATS_OK);
    const detail::NatsOwner<jsStreamInfo> info(made);
    return made != nullptr ? made->State.Msgs : 0;
  }
  /// The stream of results, which takes messages of at most `max_bytes` only; made, or changed.
  void limit_results(std::int32_t max_bytes, bool exists) {
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    const char* subject = "tandem.default.r.>";
    config.Name = "tandem_results_default";
    config.Subjects = &subject;
    config.SubjectsLen = 1;
    config.Retention = js_WorkQueuePolicy;
    config.MaxMsgSize = max_bytes;
    auto* make_or_change = exists ? js_UpdateStream : js_AddStream;
    EXPECT_EQ(make_or_change(nullptr, requests_.get(), &config, nullptr, nullptr), NATS_OK);
  }

  EngineOptions options_;
  ClientRecord record_;
  AgentRecord agent_record_;
  std::unique_ptr<NatsServer> server_;
  std::unique_ptr<detail::NatsLink> link_;
  /// For requests whose answers a busy machine keeps for longer than NatsLink::requests() waits.
  detail::NatsOwner<jsCtx> requests_;
};

}  // namespace tandem::testing
