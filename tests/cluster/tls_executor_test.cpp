// Whom a server with TLS and a token lets in: ClusterExecutors and their agents. Not under the thread sanitizer, as the
// other tests of TLS.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include <tandem/cluster.hpp>

#include "cluster/certificates.hpp"
#include "cluster/executed_agents.hpp"
#include "cluster/nats_security_fixture.hpp"
#include "core/system.hpp"
#include "support/temporary_directory.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

int twice(int value) {
  return 2 * value;
}

class TlsExecutorTest : public NatsSecurityTest {
 protected:
  void SetUp() override {
    NatsSecurityTest::SetUp();
    NatsServerSettings settings;
    settings.host = random_loopback();
    settings.token = token_ = random_secret();
    const CertificateFiles files = authority_.sign("server", "IP:" + settings.host);
    settings.certificate_file = files.certificate;
    settings.key_file = files.key;
    settings.client_ca_file = authority_.file();
    start(settings);
    url_ = options().url;
    url_.replace(0, std::string("nats").size(), "tls");
    own_ = authority_.sign("client", "DNS:client");
  }
  ClusterOptions accepted() const {
    ClusterOptions options;
    options.token = token_;
    options.tls = ClusterTls{authority_.file(), own_.certificate, own_.key};
    options.connect_wait = std::chrono::seconds(60);
    options.executor.workers = 1;
    return options;
  }
  std::string refusal(ClusterOptions options) const {
    // Refused in the middle of the handshake it is tried again.
    options.connect_wait = std::chrono::milliseconds(500);
    try {
      const ClusterExecutor executor(url_, options);
    } catch (const ClusterError& error) {
      return error.what();
    }
    return {};
  }
  /// What an agent says that does not get in.
  std::string refusal_of_agent(const std::string& token, const CertificateFiles& files) {
    const TemporaryDirectory directory("agent_log");
    const std::string path = (directory.path() / "log").string();
    const detail::Fd log(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const detail::BoundProgram agent = start_agent(environment(token), variables(files), log.get());
    pollfd wait{agent.pidfd(), POLLIN, 0};
    detail::retry_on_signal([&] { return ::poll(&wait, 1, -1); });
    return detail::read_small_file(path);
  }
  detail::AgentEnvironment environment(const std::string& token) const {
    detail::AgentEnvironment environment;
    environment.url = url_;
    environment.token = token;
    environment.node = "node-a";
    environment.slots = 1;
    return environment;
  }
  std::map<std::string, std::string> variables(const CertificateFiles& files) const {
    return {{"TANDEM_CLUSTER_CA", authority_.file()},
            {"TANDEM_CLUSTER_CERTIFICATE", files.certificate},
            {"TANDEM_CLUSTER_KEY", files.key}};
  }

  const TestAuthority authority_;
  const TestAuthority stranger_;
  std::string token_;
  std::string url_;
  CertificateFiles own_;
};

TEST_F(TlsExecutorTest, ExecutorAndAgentWithTokenAndCertificateMeet) {
  ClusterExecutor executor(url_, accepted());
  const detail::BoundProgram agent = start_agent(environment(token_), variables(own_));
  EXPECT_EQ(executor.submit(twice, 21).get(), 42);
}

TEST_F(TlsExecutorTest, ExecutorWithoutTokenOrCertificateIsRefused) {
  ClusterOptions options = accepted();
  options.token = random_secret();
  EXPECT_THAT(refusal(options), HasSubstr(url_));
  EXPECT_THAT(refusal(options), Not(HasSubstr(options.token)));
  options = accepted();
  options.tls = ClusterTls{authority_.file(), {}, {}};
  EXPECT_THAT(refusal(options), HasSubstr(url_));
  options.tls = ClusterTls{stranger_.file(), own_.certificate, own_.key};
  EXPECT_THAT(refusal(options), HasSubstr(url_));
}

TEST_F(TlsExecutorTest, AgentWithAnotherTokenIsRefusedAndLeaves) {
  const std::string wrong = random_secret();
  const std::string said = refusal_of_agent(wrong, own_);
  EXPECT_THAT(said, HasSubstr("this agent cannot work"));
  EXPECT_THAT(said, HasSubstr(url_));
  EXPECT_THAT(said, Not(HasSubstr(wrong)));
}

}  // namespace
}  // namespace tandem::testing
