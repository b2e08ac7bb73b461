#include "cluster/engine_host.hpp"

#include <fmt/format.h>
#include <nats/nats.h>

#include <filesystem>
#include <optional>

#include "cluster/nats_engine.hpp"
#include "cluster/nats_server.hpp"
#include "support/temporary_directory.hpp"

namespace tandem::testing {
namespace {

constexpr auto kCopy = std::filesystem::copy_options::recursive;

NatsServerSettings with_token(const std::string& token) {
  NatsServerSettings settings;
  settings.token = token;
  return settings;
}

class NatsHost final : public EngineHost {
 public:
  NatsHost() : token_(random_secret()), server_(with_token(token_)), saved_("saved_store") {}

  void start() override { server_.start(); }
  void kill() override { server_.kill(); }
  void delete_store() override { std::filesystem::remove_all(server_.store()); }
  void save_store() override { std::filesystem::copy(server_.store(), saved_.path() / "store", kCopy); }
  void roll_store_back() override {
    delete_store();
    std::filesystem::copy(saved_.path() / "store", server_.store(), kCopy);
  }
  EngineOptions options() const override {
    EngineOptions options;
    options.url = fmt::format("nats://{}:{}", server_.host(), server_.port());
    options.token = token_;
    options.build_id = "build-1";
    options.lease_time = std::chrono::seconds(1);
    options.connect_wait = std::chrono::seconds(60);
    return options;
  }

 private:
  const std::string token_;
  NatsServer server_;
  const TemporaryDirectory saved_;
};

}  // namespace

std::unique_ptr<EngineHost> make_engine_host(EngineKind) {
  return std::make_unique<NatsHost>();
}

void prepare_engine(EngineKind) {
  nats_Open(-1);
}

std::unique_ptr<EngineClient> connect_client(EngineKind, const EngineOptions& options, const std::string& client,
                                             EngineClientEvents& events) {
  return detail::connect_nats_client(options, client, events);
}

std::unique_ptr<EngineAgent> connect_agent(EngineKind, const EngineOptions& options, const std::string& node,
                                           EngineAgentEvents& events) {
  return detail::connect_nats_agent(options, node, events);
}

void EngineTest::SetUp() {
  prepare_engine(GetParam());
  LeakCheckedTestWith::SetUp();
  host_ = make_engine_host(GetParam());
  host_->start();
}

void EngineTest::TearDown() {
  host_.reset();
  LeakCheckedTestWith::TearDown();
}

}  // namespace tandem::testing
