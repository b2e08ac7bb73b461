#include "cluster_keeper_messages.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace tandem::tool {
namespace {

using Json = nlohmann::ordered_json;

// Each field of an order, for writing and for reading.
template <class Order, class Visit>
void visit_fields(Order& order, const Visit& visit) {
  visit("folder", order.folder);
  visit("record", order.record);
  visit("server_program", order.server.program);
  visit("server_address", order.server.address);
  visit("server_port", order.server.port);
  visit("server_tls", order.server.tls);
  visit("server_mutual", order.server.mutual);
  visit("server_store_parent", order.server.store_parent);
  visit("program", order.plan.program);
  visit("directory", order.plan.folder);
  visit("run_id", order.plan.run_id);
  visit("variables", order.plan.variables);
  visit("ssh", order.ssh);
}

}  // namespace

std::string to_line(const KeeperOrder& order) {
  Json value;
  visit_fields(order, [&](const char* name, const auto& field) { value[name] = field; });
  return value.dump() + "\n";
}

std::optional<KeeperOrder> parse_order(const std::string& line) {
  try {
    const Json value = Json::parse(line);
    KeeperOrder order;
    visit_fields(order, [&](const char* name, auto& field) { value.at(name).get_to(field); });
    return order;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

std::string to_line(const KeeperNews& news) {
  const Json value = {{"kind", news.kind}, {"where", news.where}, {"text", news.text}};
  return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

KeeperNews parse_news(const std::string& line) {
  try {
    const Json value = Json::parse(line);
    return {value.at("kind"), value.at("where"), value.at("text")};
  } catch (const Json::exception&) {
    throw std::runtime_error("the keeper of the cluster says what cannot be understood");
  }
}

}  // namespace tandem::tool
