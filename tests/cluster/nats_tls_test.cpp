// TLS. Not under the thread sanitizer: libnats before 3.11 uses one TLS object in two threads (nats.c#913).
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "cluster/certificates.hpp"
#include "cluster/engine_options.hpp"
#include "cluster/nats_security_fixture.hpp"
#include "core/system.hpp"

namespace tandem::testing {
namespace {

using detail::EngineTls;
using ::testing::HasSubstr;

constexpr const char* kSecret = "s3cr3t-t0k3n";

class NatsTlsTest : public NatsSecurityTest {
 protected:
  /// Starts a server with a certificate for its address.
  void start_with_tls(const TestAuthority& authority, const std::string& token, const std::string& client_ca) {
    NatsServerSettings settings;
    settings.host = random_loopback();
    settings.token = token;
    settings.client_ca_file = client_ca;
    const CertificateFiles files = authority.sign("server", "IP:" + settings.host);
    settings.certificate_file = files.certificate;
    settings.key_file = files.key;
    start(settings);
  }
};

TEST_F(NatsTlsTest, TlsIsAcceptedByThoseWhoKnowTheAuthority) {
  const TestAuthority authority;
  const TestAuthority stranger;
  start_with_tls(authority, kSecret, {});
  EngineOptions options = this->options();
  options.token = kSecret;
  EXPECT_NE(refusal(options), "") << "without TLS";
  options.tls = EngineTls{stranger.file(), {}, {}};
  EXPECT_THAT(refusal(options), HasSubstr("refuses this program")) << "of another authority";
  options.tls = EngineTls{};
  EXPECT_THAT(refusal(options), HasSubstr("refuses this program")) << "of no authority that the system knows";
  options.tls = EngineTls{authority.file(), {}, {}};
  EXPECT_EQ(refusal(options), "");
  options.url.replace(0, std::string("nats").size(), "tls");
  EXPECT_EQ(refusal(options), "");
  options.token += "x";
  EXPECT_NE(refusal(options), "") << "with the wrong token";
}

TEST_F(NatsTlsTest, CertificateOfAnotherServerIsRefused) {
  const TestAuthority authority;
  NatsServerSettings settings;
  const CertificateFiles files = authority.sign("server", "DNS:another.example,IP:127.255.255.1");
  settings.certificate_file = files.certificate;
  settings.key_file = files.key;
  start(settings);
  EngineOptions options = this->options();
  options.tls = EngineTls{authority.file(), {}, {}};
  EXPECT_THAT(refusal(options), HasSubstr("refuses this program"));
}

// Closes each connection in the midst of its handshake, as a server does that is too busy for it.
class CuttingServer {
 public:
  CuttingServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (!listener_ || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_.get(), 8) != 0 ||
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      detail::throw_errno("cannot listen");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { cut(); });
  }
  ~CuttingServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  int port() const { return port_; }
  int handshakes() const { return handshakes_; }

 private:
  void cut() {
    constexpr std::string_view kInfo =
        "INFO {\"server_id\":\"X\",\"version\":\"2.9.10\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,"
        "\"tls_required\":true}\r\n";
    for (;;) {
      const detail::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      std::array<char, 4096> hello{};
      if (::send(fd.get(), kInfo.data(), kInfo.size(), MSG_NOSIGNAL) > 0 &&
          ::recv(fd.get(), hello.data(), hello.size(), 0) > 0)
        ++handshakes_;
    }
  }

  const detail::Fd listener_;
  int port_ = 0;
  std::atomic<int> handshakes_{0};
  std::thread thread_;
};

TEST_F(NatsTlsTest, HandshakeThatIsCutShortIsTriedAgain) {
  const TestAuthority authority;
  const CuttingServer server;
  EngineOptions options;
  options.url = fmt::format("tls://127.0.0.1:{}", server.port());
  options.build_id = "build-1";
  options.token = kSecret;
  options.tls = EngineTls{authority.file(), {}, {}};
  // On a busy machine the first attempt alone may take a short one.
  for (const int seconds : {1, 8, 60}) {
    if (server.handshakes() > 1) break;
    options.connect_wait = std::chrono::seconds(seconds);
    EXPECT_THAT(refusal(options), HasSubstr("cannot reach"));
  }
  EXPECT_GT(server.handshakes(), 1);
}

TEST_F(NatsTlsTest, MutualTlsAsksForACertificateOfTheAuthority) {
  const TestAuthority authority;
  const TestAuthority stranger;
  start_with_tls(authority, {}, authority.file());
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

TEST_F(NatsTlsTest, ServerThatAsksForNothingIsFoundOutOverPlainTcp) {
  start({});
  EngineOptions options = this->options();
  EXPECT_EQ(refusal(options), "");
  options.tls = EngineTls{};
  EXPECT_NE(refusal(options), "") << "TLS was asked for, and the server has none";
}

TEST_F(NatsTlsTest, ManyTasksAndLargeOnesComeBackOverTls) {
  constexpr std::uint64_t kTasks = 1000;
  const TestAuthority authority;
  start_with_tls(authority, kSecret, {});
  EngineOptions options = this->options();
  options.token = kSecret;
  options.tls = EngineTls{authority.file(), {}, {}};
  ClientRecord record;
  AgentRecord agent_record;
  const auto client = connect_client(EngineKind::Nats, options, "client-1", record);
  const auto agent = connect_agent(EngineKind::Nats, options, "node-a", agent_record);
  std::thread works([&] {
    for (;;) {
      const std::vector<TaskLease> leases = agent->lease(8, std::chrono::hours(1));
      if (leases.empty()) return;
      for (const TaskLease& lease : leases) agent->finish(lease, lease.payload);
    }
  });
  const std::string large(std::size_t{1} << 20, 'l');
  const auto payload_of = [&](std::uint64_t number) { return number % 100 == 0 ? large : std::to_string(number); };
  for (std::uint64_t number = 0; number < kTasks; ++number)
    EXPECT_TRUE(client->submit({"client-1", number, 1}, bytes_of(payload_of(number)), {}, kPatience));
  EXPECT_TRUE(submit_again_until(*client, record, payload_of, [](const ClientRecord::Told& told) {
    return told.results.size() >= kTasks && told.count_of_finished() >= kTasks;
  }));
  agent->stop();
  works.join();
  for (const ClientRecord::Result& result : record.told().results)
    EXPECT_TRUE(result.text == payload_of(result.id.number)) << result.id.number;
}

TEST_F(NatsTlsTest, ConnectionThatIsIdleCostsNoTime) {
  const TestAuthority authority;
  start_with_tls(authority, kSecret, {});
  EngineOptions options = this->options();
  options.token = kSecret;
  options.tls = EngineTls{authority.file(), {}, {}};
  AgentRecord record;
  const auto agent = connect_agent(EngineKind::Nats, options, "node-a", record);
  const std::clock_t before = std::clock();
  EXPECT_TRUE(agent->lease(1, std::chrono::seconds(2)).empty());
  // Of this process, whatever else the machine does. A thread that asks without end takes all of the two seconds.
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 2);
}

TEST_F(NatsTlsTest, ServerThatStandsStillHoldsNobody) {
  const TestAuthority authority;
  start_with_tls(authority, kSecret, {});
  EngineOptions options = this->options();
  options.token = kSecret;
  options.tls = EngineTls{authority.file(), {}, {}};
  ClientRecord record;
  const auto client = connect_client(EngineKind::Nats, options, "client-1", record);
  const std::string payload(std::size_t{40} << 20, 'p');
  server_->pause();
  EXPECT_TRUE(client->submit({"client-1", 1, 1}, bytes_of(payload), {}, std::chrono::milliseconds(50)));
  EXPECT_TRUE(becomes_away(*client));
  server_->go_on();
  submit_stored(*client, record, 1, payload);
}

}  // namespace
}  // namespace tandem::testing
