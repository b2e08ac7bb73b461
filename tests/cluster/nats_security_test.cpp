// Who may talk to whom: what options are refused, and what servers and clients refuse of each other.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cluster/certificates.hpp"
#include "cluster/engine_host.hpp"
#include "cluster/engine_options.hpp"
#include "cluster/engine_records.hpp"
#include "cluster/nats_server.hpp"
#include "support/caught_log.hpp"
#include "support/leak_checked_test.hpp"

namespace tandem::testing {
namespace {

using detail::EngineError;
using detail::EngineServer;
using detail::EngineTls;

// Once more than needed: what a library says of an error may have been said before.
constexpr const char* kSecret = "s3cr3t-t0k3n";

class NatsSecurityTest : public LeakCheckedTest {
 protected:
  void SetUp() override {
    prepare_engine(EngineKind::Nats);
    LeakCheckedTest::SetUp();
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
      EXPECT_TRUE(client->census());
      return {};
    } catch (const EngineError& error) {
      return error.what();
    }
  }
  void TearDown() override {
    server_.reset();
    LeakCheckedTest::TearDown();
  }

  std::unique_ptr<NatsServer> server_;
};

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

TEST_F(NatsSecurityTest, TlsIsAcceptedByThoseWhoKnowTheAuthority) {
  const TestAuthority authority;
  const TestAuthority stranger;
  NatsServerSettings settings;
  settings.host = random_loopback();
  settings.token = kSecret;
  const CertificateFiles files = authority.sign("server", "IP:" + settings.host);
  settings.certificate_file = files.certificate;
  settings.key_file = files.key;
  start(settings);
  EngineOptions options = this->options();
  options.token = kSecret;
  EXPECT_NE(refusal(options), "") << "without TLS";
  options.tls = EngineTls{stranger.file(), {}, {}};
  EXPECT_NE(refusal(options), "") << "of another authority";
  options.tls = EngineTls{};
  EXPECT_NE(refusal(options), "") << "of no authority that the system knows";
  options.tls = EngineTls{authority.file(), {}, {}};
  EXPECT_EQ(refusal(options), "");
  options.url.replace(0, std::string("nats").size(), "tls");
  EXPECT_EQ(refusal(options), "");
  options.token += "x";
  EXPECT_NE(refusal(options), "") << "with the wrong token";
}

TEST_F(NatsSecurityTest, CertificateOfAnotherServerIsRefused) {
  const TestAuthority authority;
  NatsServerSettings settings;
  const CertificateFiles files = authority.sign("server", "DNS:another.example,IP:127.255.255.1");
  settings.certificate_file = files.certificate;
  settings.key_file = files.key;
  start(settings);
  EngineOptions options = this->options();
  options.tls = EngineTls{authority.file(), {}, {}};
  EXPECT_NE(refusal(options), "");
}

TEST_F(NatsSecurityTest, MutualTlsAsksForACertificateOfTheAuthority) {
  const TestAuthority authority;
  const TestAuthority stranger;
  NatsServerSettings settings;
  settings.host = random_loopback();
  const CertificateFiles files = authority.sign("server", "IP:" + settings.host);
  settings.certificate_file = files.certificate;
  settings.key_file = files.key;
  settings.client_ca_file = authority.file();
  start(settings);
  EngineOptions options = this->options();
  options.connect_wait = std::chrono::milliseconds(500);  // Refused in the middle of the handshake: it is tried again.
  options.tls = EngineTls{authority.file(), {}, {}};
  EXPECT_NE(refusal(options), "") << "without a certificate";
  const CertificateFiles foreign = stranger.sign("client", "DNS:client");
  options.tls = EngineTls{authority.file(), foreign.certificate, foreign.key};
  EXPECT_NE(refusal(options), "") << "with one of another authority";
  options.connect_wait = kPatience;
  const CertificateFiles own = authority.sign("client", "DNS:client");
  options.tls = EngineTls{authority.file(), own.certificate, own.key};
  EXPECT_EQ(refusal(options), "");
}

TEST_F(NatsSecurityTest, ServerThatAsksForNothingIsFoundOutOverPlainTcp) {
  start({});
  EngineOptions options = this->options();
  EXPECT_EQ(refusal(options), "");
  options.tls = EngineTls{};
  EXPECT_NE(refusal(options), "") << "TLS was asked for, and the server has none";
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
  EngineOptions given = with_url("nats://other@127.0.0.1");
  given.token = "given";
  detail::take_servers(given);
  EXPECT_EQ(given.token, "given");
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
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.lease_time = std::chrono::milliseconds(10); }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.max_age = std::chrono::seconds(1); }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.replicas = 0; }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.unstored_items = 0; }));
  EXPECT_TRUE(refuses([](EngineOptions& options) { options.tls = EngineTls{{}, "certificate", {}}; }));
}

}  // namespace
}  // namespace tandem::testing
