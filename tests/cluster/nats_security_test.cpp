// Who may talk to whom: what options are refused, and what servers and clients refuse of each other.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cluster/engine_options.hpp"
#include "cluster/nats_security_fixture.hpp"
#include "support/caught_log.hpp"

namespace tandem::testing {
namespace {

using detail::EngineServer;
using detail::EngineTls;
using std::chrono::milliseconds;

// Once more than needed: what a library says of an error may have been said before.
constexpr const char* kSecret = "s3cr3t-t0k3n";

TEST_F(NatsSecurityTest, TokenIsAcceptedAndAnyOtherRefused) {
  NatsServerSettings settings;
  settings.token = kSecret;
  start(settings);
  EngineOptions options = this->options();
  EXPECT_NE(refusal(options), "") << "without a token";
  options.token = std::string(kSecret) + "x";
  EXPECT_NE(refusal(options), "");
  options.token = kSecret;
  EXPECT_EQ(refusal(options), "");
  options.token.clear();
  options.url.insert(std::string("nats://").size(), std::string(kSecret) + "@");
  EXPECT_EQ(refusal(options), "") << "as part of the url";
}

TEST_F(NatsSecurityTest, SecretsStandInNoErrorAndNoLog) {
  NatsServerSettings settings;
  settings.token = random_secret();
  start(settings);
  CaughtLog log(LogLevel::Debug);
  std::string said;
  EngineOptions options = this->options();
  options.token = kSecret;
  said += refusal(options);
  options.token.clear();
  options.url.insert(std::string("nats://").size(), std::string("somebody:") + kSecret + "@");
  said += refusal(options);
  options.url = std::string("nats://") + kSecret + "@127.0.0.1:port";
  try {
    detail::take_servers(options);
    ADD_FAILURE() << "a port that is none";
  } catch (const std::invalid_argument& error) {
    said += error.what();
  }
  for (const std::string& line : log.lines()) said += line;
  EXPECT_NE(said, "");
  EXPECT_EQ(said.find(kSecret), std::string::npos) << said;
  EXPECT_EQ(server_->log().find(kSecret), std::string::npos) << server_->log();
}

EngineOptions with_url(const std::string& url) {
  EngineOptions options;
  options.url = url;
  options.build_id = "build-1";
  return options;
}

bool is_refused(EngineOptions options) {
  try {
    const std::vector<EngineServer> servers = detail::take_servers(options);
    check_engine_options(options, servers);
    return false;
  } catch (const std::invalid_argument&) {
    return true;
  }
}

TEST(EngineOptionsTest, UnprotectedServerIsRefusedUnlessItIsOnLoopbackOrAllowed) {
  for (const char* url : {"nats://127.0.0.1", "nats://127.9.9.9:4222", "nats://localhost:1", "nats://[::1]:4222"})
    EXPECT_FALSE(is_refused(with_url(url))) << url;
  for (const char* url : {"nats://10.0.0.1", "nats://localhost.example", "nats://token@10.0.0.1", "tls://10.0.0.1",
                          "nats://0.0.0.0", "nats://127.0.0.1,10.0.0.1", "nats://[::]:4222", "nats://[fe80::1]"})
    EXPECT_TRUE(is_refused(with_url(url))) << url;
  EXPECT_FALSE(is_refused(with_url("tls://token@10.0.0.1")));
  EXPECT_FALSE(is_refused(with_url("tls://user:password@a.example,b.example:4223")));
  EngineOptions allowed = with_url("nats://10.0.0.1");
  allowed.allow_unprotected_server = true;
  EXPECT_FALSE(is_refused(allowed));
  EngineOptions mutual = with_url("tls://10.0.0.1");
  mutual.tls = EngineTls{{}, "certificate", "key"};
  EXPECT_FALSE(is_refused(mutual));
}

TEST(EngineOptionsTest, SecretsOfAUrlBecomeOptionsAndLeaveIt) {
  EngineOptions options = with_url("nats://us:p@ss@127.0.0.1:5,localhost");
  const std::vector<EngineServer> servers = detail::take_servers(options);
  EXPECT_EQ(options.url, "nats://127.0.0.1:5,nats://localhost:4222");
  EXPECT_EQ(options.user, "us");
  EXPECT_EQ(options.password, "p@ss");
  EXPECT_EQ(servers.size(), 2U);
  EngineOptions encoded = with_url("nats://u%3As%25:p%2Cs%40s@127.0.0.1:5,localhost");
  detail::take_servers(encoded);
  EXPECT_EQ(encoded.user, "u:s%");
  EXPECT_EQ(encoded.password, "p,s@s");
  for (const char* url : {"nats://s3cr3t%@127.0.0.1", "nats://s3cr3t%4@127.0.0.1", "nats://s3cr3t%4x@127.0.0.1",
                          "nats://u:s3cr3t%00@127.0.0.1", "nats://s3cr3t% 1@127.0.0.1"}) {
    EngineOptions wrong = with_url(url);
    try {
      detail::take_servers(wrong);
      ADD_FAILURE() << url;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(std::string(error.what()).find("s3cr3t"), std::string::npos) << error.what();
    }
  }
  EngineOptions given = with_url("nats://other@127.0.0.1");
  given.token = "given";
  detail::take_servers(given);
  EXPECT_EQ(given.token, "given");
}

TEST(EngineOptionsTest, SecretWithACommaIsRefusedAndNotRepeated) {
  for (const char* url : {"tls://s3cr3t-t0k3n,rest@127.0.0.1", "nats://user:s3cr3t-t0k3n,34@127.0.0.1",
                          "nats://user@127.0.0.1,s3cr3t-t0k3n@127.0.0.1", "nats://a,nats://s3cr3t-t0k3n@127.0.0.1"}) {
    EngineOptions options = with_url(url);
    try {
      detail::take_servers(options);
      ADD_FAILURE() << url;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(std::string(error.what()).find("s3cr3t"), std::string::npos) << error.what();
    }
  }
}

TEST(EngineOptionsTest, WhatMakesNoSenseIsRefused) {
  for (const char* url :
       {"", "127.0.0.1", "http://127.0.0.1", "nats://", "nats://:4222", "nats://127.0.0.1:0", "nats://127.0.0.1:65536",
        "nats://127.0.0.1:4222x", "nats://127.0.0.1/x", "nats://[::1", "nats://127.0.0.1,", "nats://a b"})
    EXPECT_TRUE(is_refused(with_url(url))) << url;
  const auto refuses = [](auto change) {
    EngineOptions options = with_url("nats://127.0.0.1");
    change(options);
    return is_refused(options);
  };
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.pool = "a.b"; }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.build_id = ""; }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.lease_time = milliseconds(10); }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.max_age = std::chrono::seconds(1); }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.client_silence = milliseconds(999); }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.lease_time = detail::kMostEngineTime + milliseconds(1); }));
  EXPECT_FALSE(refuses([](EngineOptions& options) { options.lease_time = detail::kMostEngineTime; }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.client_silence = milliseconds::max(); }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.replicas = 0; }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.unstored_items = 0; }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.tls = EngineTls{{}, "certificate", {}}; }));
}

}  // namespace
}  // namespace tandem::testing
