#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <tandem/detail/deadline.hpp>

#include "cluster/nats_engine.hpp"
#include "cluster/nats_link.hpp"
#include "cluster/nats_message.hpp"
#include "cluster/nats_queues.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kForgotten{60};
constexpr std::size_t kMaxNodes = 100'000;

class NatsObserver final : public EngineObserver {
 public:
  NatsObserver(const EngineOptions& options, const std::vector<EngineServer>& servers)
      : names_(options),
        link_(options, servers, "tandem observer", {}),
        announcements_(link_, names_.announcement("*"), false,
                       [this](NatsMessage message) { on_announcement(std::move(message)); }) {}

  std::vector<SeenNode> nodes() const override {
    const MutexGuard guard(mutex_);
    std::vector<SeenNode> seen;
    for (const auto& [name, node] : nodes_)
      if (Clock::now() - node.heard_at <= kForgotten) seen.push_back(node);
    return seen;
  }
  bool hear(milliseconds patience) override {
    const Deadline deadline = Deadline::after(patience);
    const MutexGuard guard(mutex_);
    const std::uint64_t before = heard_;
    while (heard_ == before && !deadline.passed()) changed_.wait_for(mutex_, deadline.left(patience));
    return heard_ != before;
  }
  std::optional<PoolCount> count() override {
    const auto tasks = messages(names_.tasks_stream());
    const auto results = messages(names_.results_stream());
    if (!tasks || !results) return std::nullopt;
    return PoolCount{*tasks, *results};
  }
  EngineState state() const override { return link_.state(); }

 private:
  void on_announcement(NatsMessage message) TANDEM_EXCLUDES(mutex_) {
    const std::span<const std::byte> bytes = payload_of(message.get());
    std::optional<NodeInfo> node = parse_node({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    // Nobody speaks for another.
    if (!node || natsMsg_GetSubject(message.get()) != names_.announcement(node->node)) return;
    const MutexGuard guard(mutex_);
    if (nodes_.size() >= kMaxNodes && !nodes_.contains(node->node)) return;
    const std::string name = node->node;
    nodes_[name] = SeenNode{*std::move(node), Clock::now()};
    ++heard_;
    changed_.notify_all();
  }
  // A queue that nobody has made yet holds nothing.
  std::optional<std::uint64_t> messages(const std::string& stream) const {
    jsErrCode code{};
    jsStreamInfo* made = nullptr;
    const natsStatus status = js_GetStreamInfo(&made, link_.requests(), stream.c_str(), nullptr, &code);
    const NatsOwner<jsStreamInfo> info(made);
    if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr) return 0;
    if (status != NATS_OK || made == nullptr) return std::nullopt;
    return made->State.Msgs;
  }

  const NatsNames names_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::map<std::string, SeenNode> nodes_ TANDEM_GUARDED_BY(mutex_);
  std::uint64_t heard_ TANDEM_GUARDED_BY(mutex_) = 0;
  NatsLink link_;
  NatsSubscription announcements_;
};

}  // namespace

std::unique_ptr<EngineObserver> connect_nats_observer(EngineOptions options) {
  if (options.build_id.empty()) options.build_id = "observer";  // Its own names have none.
  const std::vector<EngineServer> servers = take_servers(options);
  check_engine_options(options, servers);
  return std::make_unique<NatsObserver>(options, servers);
}

}  // namespace tandem::detail
