#include "cluster_keeper_messages.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bad_input.hpp"
#include "text.hpp"

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

bool is_utf8(const Json& text) {
  try {
    static_cast<void>(text.dump());
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

void check_texts(const Json& value) {
  if (value.is_structured())
    for (const Json& part : value) check_texts(part);
  else if (value.is_string() && !is_utf8(value))
    throw BadInput(fmt::format("{}: is no UTF-8", printable(value.get_ref<const std::string&>())));
}

}  // namespace

std::string to_line(const KeeperOrder& order) {
  // By their names: secrets are among them.
  for (const auto& [name, text] : order.plan.variables)
    if (!is_utf8(text)) throw BadInput(fmt::format("{}: is no UTF-8", name));
  Json value;
  visit_fields(order, [&](const char* name, const auto& field) { value[name] = field; });
  check_texts(value);
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
