#include "cluster/agent_values.hpp"

#include <iterator>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <tandem/callable.hpp>
#include <tandem/detail/executor_base.hpp>

namespace tandem::detail {
namespace {

// How long a pool may have nothing to do; the shorter time holds while there are more than so many.
constexpr std::chrono::seconds kIdle{60};
constexpr std::chrono::seconds kIdleAmongMany{5};
constexpr std::size_t kMany = 8;

}  // namespace

SharedObjectPtr ValueCache::find(const ClusterValueId& id) {
  const MutexGuard guard(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found->second);
  return found->second->object;
}

SharedObjectPtr ValueCache::put(const ClusterValueId& id, std::span<const std::byte> value) {
  SharedObjectPtr object = make_parcel(value.data(), value.size(), {}, ObjectKind::Broadcast);
  Order dropped;  // Freed without the mutex.
  const MutexGuard guard(mutex_);
  const auto drop = [&](Order::iterator at) TANDEM_REQUIRES(mutex_) {
    bytes_ -= at->bytes;
    by_id_.erase(at->id);
    dropped.splice(dropped.end(), kept_, at);
  };
  if (const auto found = by_id_.find(id); found != by_id_.end()) drop(found->second);
  kept_.push_front({id, object, value.size() + kEntryBytes});
  by_id_[id] = kept_.begin();
  bytes_ += kept_.front().bytes;
  while (bytes_ > most_bytes_ && kept_.size() > 1) drop(std::prev(kept_.end()));
  return object;
}

std::shared_ptr<ExecutorCore> InitializedPools::find(const ClusterValueId& initializer) {
  const MutexGuard guard(mutex_);
  const auto found = pools_.find(initializer);
  if (found == pools_.end()) return nullptr;
  found->second.used_at = Clock::now();
  return found->second.core;
}

std::shared_ptr<ExecutorCore> InitializedPools::make(const ClusterValueId& id, const SharedObjectPtr& initializer,
                                                     const NodeValues& values) {
  const MutexGuard guard(mutex_);
  if (const auto found = pools_.find(id); found != pools_.end()) return found->second.core;
  ExecutorOptions options;
  options.workers = slots_;
  options.name_prefix = fmt::format("{}-{}", node_, ++made_);
  Encoder call;
  using Initialize = void (*)(const NodeInitializer&);
  encode_call<Initialize, NodeInitializer>(call, &initialize_for_client, {NodeValue(initializer), values});
  Pool& pool = pools_[id];
  try {
    pool.core = make_process_executor(std::move(options), &call);
  } catch (...) {
    pools_.erase(id);
    throw;
  }
  return pool.core;
}

void InitializedPools::retire() {
  std::vector<std::shared_ptr<ExecutorCore>> idle;
  {
    const MutexGuard guard(mutex_);
    const Clock::time_point now = Clock::now();
    for (auto at = pools_.begin(); at != pools_.end();) {
      Pool& pool = at->second;
      const ExecutorCounters counters = pool.core->counters();
      if (counters.queued + counters.running > 0) pool.used_at = now;
      const bool is_idle = now - pool.used_at > (pools_.size() > kMany ? kIdleAmongMany : kIdle);
      if (is_idle) idle.push_back(std::move(pool.core));
      at = is_idle ? pools_.erase(at) : std::next(at);
    }
  }
  for (const auto& core : idle) core->close(Backlog::Run);
}

void InitializedPools::shut_down(const Deadline& deadline) {
  std::vector<std::shared_ptr<ExecutorCore>> pools = all();
  for (const auto& core : pools) core->close(Backlog::Cancel);
  for (const auto& core : pools) static_cast<void>(core->shutdown(Backlog::Cancel, deadline));
}

std::vector<std::shared_ptr<ExecutorCore>> InitializedPools::all() {
  const MutexGuard guard(mutex_);
  std::vector<std::shared_ptr<ExecutorCore>> pools;
  for (const auto& [id, pool] : pools_) pools.push_back(pool.core);
  return pools;
}

bool NeedsFinder::find_values(const std::string& client, const std::vector<CarriedValue>& wanted, EngineAgent* engine,
                              NodeValues& found, std::optional<ClusterValueId>& missing) {
  for (const CarriedValue& value : wanted) {
    const ClusterValueId id{client, value.generation};
    SharedObjectPtr object = values_.find(id);
    if (object == nullptr && value.bytes == 0) object = values_.put(id, {});
    if (object == nullptr) {
      if (engine == nullptr) return false;
      const std::optional<std::vector<std::byte>> bytes = engine->fetch(id, value.bytes);
      if (!bytes) {
        missing = id;
        return false;
      }
      object = values_.put(id, *bytes);
    }
    found.emplace_back(value.offset, value.generation, NodeValue(std::move(object)));
  }
  return true;
}

bool NeedsFinder::find(const std::string& client, const TaskTicket& ticket, EngineAgent* engine, TaskNeeds& needs,
                       std::optional<ClusterValueId>& missing) {
  if (!find_values(client, ticket.values, engine, needs.values, missing)) return false;
  if (!ticket.initializer) return true;
  const ClusterValueId id{client, ticket.initializer->generation};
  needs.pool = pools_.find(id);
  if (needs.pool != nullptr) return true;
  NodeValues initializer, values;
  if (!find_values(client, {*ticket.initializer}, engine, initializer, missing)) return false;
  const SharedObjectPtr& object = HandleAccess::object(std::get<2>(initializer.front()));
  const auto [bytes, size] = parcel_bytes(*object);
  Decoder decoder(bytes, size);
  if (!find_values(client, decode_ticket(decoder).values, engine, values, missing)) return false;
  needs.pool = pools_.make(id, object, values);
  return true;
}

}  // namespace tandem::detail
