#include "cluster/server_group.hpp"

#include <fmt/format.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include <tandem/detail/deadline.hpp>

#include "cluster/nats_link.hpp"

namespace tandem::testing {
namespace {

// The addresses are nobody else's.
constexpr int kRoutePort = 6222;

std::string name_of(std::size_t at) {
  return fmt::format("s{}", at);
}

/// Asks a server that runs.
class Asking {
 public:
  Asking(const std::string& url, const std::string& token) {
    detail::EngineOptions options;
    options.url = url;
    options.token = token;
    options.build_id = "build-1";
    options.allow_unprotected_server = true;
    options.connect_wait = std::chrono::seconds(60);
    const auto servers = detail::take_servers(options);
    link_ = std::make_unique<detail::NatsLink>(options, servers, "test", detail::NatsLink::Callbacks{});
  }
  detail::NatsOwner<jsStreamInfo> look(const std::string& stream) const {
    jsStreamInfo* made = nullptr;
    static_cast<void>(js_GetStreamInfo(&made, link_->requests(), stream.c_str(), nullptr, nullptr));
    return detail::NatsOwner<jsStreamInfo>(made);
  }

 private:
  std::unique_ptr<detail::NatsLink> link_;
};

}  // namespace

ServerGroup::ServerGroup(std::vector<std::string> hosts, const std::vector<std::string>& networks)
    : token_(random_secret()) {
  while (hosts.size() < servers_.size()) hosts.push_back(random_loopback());
  std::vector<std::string> routes;
  for (const std::string& host : hosts) routes.push_back(fmt::format("{}:{}", host, kRoutePort));
  for (std::size_t at = 0; at < servers_.size(); ++at) {
    NatsServerSettings settings;
    settings.host = hosts[at];
    settings.token = token_;
    if (!networks.empty()) settings.network = networks[at];
    settings.name = name_of(at);
    settings.route_address = routes[at];
    settings.routes = routes;
    servers_[at] = std::make_unique<NatsServer>(std::move(settings));
    servers_[at]->start();
  }
}

std::string ServerGroup::url() const {
  std::string all;
  for (const auto& server : servers_)
    all += fmt::format("{}nats://{}:{}", all.empty() ? "" : ",", server->host(), server->port());
  return all;
}

std::optional<std::size_t> ServerGroup::leader_of(const std::string& stream) const {
  const detail::NatsOwner<jsStreamInfo> info = Asking(url(), token_).look(stream);
  if (info == nullptr || info->Cluster == nullptr || info->Cluster->Leader == nullptr) return std::nullopt;
  for (std::size_t at = 0; at < servers_.size(); ++at) {
    if (info->Cluster->Leader == name_of(at) && servers_[at]->is_running()) return at;
  }
  return std::nullopt;
}

std::size_t ServerGroup::replicas_of(const std::string& stream) const {
  const Asking asking(url(), token_);
  const detail::Deadline deadline = detail::Deadline::after(std::chrono::seconds(60));
  while (!deadline.passed()) {
    if (const auto info = asking.look(stream); info != nullptr) return static_cast<std::size_t>(info->Config->Replicas);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return 0;
}

std::size_t ServerGroup::kill_leader_of(const std::string& stream) {
  const detail::Deadline deadline = detail::Deadline::after(std::chrono::seconds(60));
  while (!deadline.passed()) {
    if (const std::optional<std::size_t> leader = leader_of(stream)) {
      servers_[*leader]->kill();
      return *leader;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  throw std::runtime_error("nobody leads the stream " + stream);
}

}  // namespace tandem::testing
