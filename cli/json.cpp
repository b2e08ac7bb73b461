#include "json.hpp"

#include <nlohmann/json.hpp>

namespace tandem::tool {
namespace {

using Json = nlohmann::ordered_json;

Json to_value(const Spread& spread) {
  return {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}};
}

Json to_value(const ComparisonRow& row) {
  return {{"where", to_string(row.where)},
          {"wall_s", to_value(row.wall_s)},
          {"cpu_s", to_value(row.cpu_s)},
          {"start_s", to_value(row.start_s)},
          {"speedup", row.speedup},
          {"of_limit", row.of_limit},
          {"peak_memory_bytes", row.peak_memory_bytes},
          {"result", row.result}};
}

}  // namespace

std::string to_json(const Comparison& comparison) {
  Json rows = Json::array();
  for (const ComparisonRow& row : comparison.rows) rows.push_back(to_value(row));
  const ComparisonMachine& machine = comparison.machine;
  const Json value = {
      {"work", comparison.work},
      {"inputs", comparison.inputs},
      {"machine",
       {{"cores", machine.cores},
        {"kernel", machine.kernel},
        {"compiler", machine.compiler},
        {"limit", machine.limit}}},
      {"workers", comparison.workers},
      {"runs", comparison.runs},
      {"rows", std::move(rows)},
      {"agree", comparison.agree},
      {"advice", {{"where", to_string(comparison.advice.where)}, {"reasons", comparison.advice.reasons}}}};
  // A result may hold any bytes; JSON is UTF-8.
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace tandem::tool
