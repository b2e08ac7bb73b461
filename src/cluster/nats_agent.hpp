/// The agent's side of the seam on NATS.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <tandem/detail/deadline.hpp>

#include "cluster/engine.hpp"
#include "cluster/nats_heard_clients.hpp"
#include "cluster/nats_keeper.hpp"
#include "cluster/nats_leases.hpp"
#include "cluster/nats_link.hpp"
#include "cluster/nats_message.hpp"
#include "cluster/nats_publisher.hpp"
#include "cluster/nats_pull.hpp"
#include "cluster/nats_queue_maker.hpp"
#include "cluster/nats_queues.hpp"
#include "cluster/nats_results.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {

/// See EngineAgent and connect_nats_agent(). nats_agent.cpp has the way of a task to here, nats_agent_results.cpp that
/// of its result from here.
class NatsAgent final : public EngineAgent {
 public:
  NatsAgent(const EngineOptions& options, const std::vector<EngineServer>& servers, const std::string& node,
            EngineAgentEvents& events);
  ~NatsAgent() override;

  std::vector<TaskLease> lease(std::size_t max, std::chrono::milliseconds wait) override TANDEM_EXCLUDES(mutex_);
  bool renew(const TaskLease& lease) override TANDEM_EXCLUDES(mutex_);
  void finish(const TaskLease& lease, std::vector<std::byte> result) override TANDEM_EXCLUDES(mutex_);
  void tell(const TaskLease& lease, std::vector<std::byte> result, unsigned part) override TANDEM_EXCLUDES(mutex_);
  void give_back(const TaskLease& lease) override TANDEM_EXCLUDES(mutex_);
  std::optional<std::vector<std::byte>> fetch(const ClusterValueId& id, std::uint64_t bytes) override;
  bool is_silent(const std::string& client) override TANDEM_EXCLUDES(mutex_);
  bool drain(std::chrono::milliseconds patience) override TANDEM_EXCLUDES(mutex_);
  std::vector<UnstoredResult> take_unstored() override TANDEM_EXCLUDES(mutex_);
  void announce(NodeInfo info) override;
  void stop() override TANDEM_EXCLUDES(mutex_);
  void ensure() override TANDEM_EXCLUDES(ensure_mutex_);
  std::uint64_t most_payload_bytes() const override {
    return queues_.most_payload_bytes(NatsNames::node_owner(node_), pieces_.piece_bytes());
  }
  EngineState state() const override { return link_.state(); }

 private:
  /// Not sooner after one another: during an election a server refuses at once.
  static constexpr std::chrono::milliseconds kPause{250};
  static constexpr std::chrono::milliseconds kLook{1000};

  NatsPull::Callbacks pull_callbacks();
  void gather(std::size_t max, const Deadline& deadline) TANDEM_EXCLUDES(mutex_);
  /// Asks for tasks; false if that has to wait a moment.
  bool ask(std::size_t max, std::array<bool, 2>& looked, const Deadline& deadline) TANDEM_EXCLUDES(mutex_);
  /// The task of a message; empty if there is none, or not now.
  std::optional<TaskLease> open(NatsMessage message, const std::function<void()>& renew_all) TANDEM_EXCLUDES(mutex_);
  NatsPieces::Got get_pieces(const PieceList& list, std::vector<std::byte>& payload,
                             const std::function<void()>& renew_all) TANDEM_EXCLUDES(mutex_);
  void send_renewal(const std::string& ack) const;
  void on_renewed(const NatsMessage& message) TANDEM_EXCLUDES(mutex_);
  std::optional<std::chrono::milliseconds> put_off_for(const std::string& client) TANDEM_EXCLUDES(mutex_);
  void forget_silent() TANDEM_EXCLUDES(mutex_);
  void on_heartbeat(const NatsMessage& message) TANDEM_EXCLUDES(mutex_);
  void on_cancel(const NatsMessage& message);

  void hand_over(const TaskLease& lease, std::vector<std::byte> result, unsigned part) TANDEM_EXCLUDES(mutex_);
  bool send(std::uint64_t number, const NatsResultPtr& unstored) TANDEM_EXCLUDES(mutex_);
  void on_reply(std::uint64_t number, const StoredReply& reply) TANDEM_EXCLUDES(mutex_);
  void renew_unstored() TANDEM_EXCLUDES(mutex_);
  void send_again() TANDEM_EXCLUDES(mutex_);

  std::chrono::milliseconds step(const NatsKeeper::News& news) TANDEM_EXCLUDES(mutex_);
  void changed() TANDEM_REQUIRES(mutex_) {
    ++changes_;
    changed_.notify_all();
    stored_.notify_all();
  }

  const EngineOptions options_;
  const std::string node_;
  EngineAgentEvents& events_;
  bool refusal_is_told_ = false;  // The keeper's.
  NatsKeeper keeper_;
  NatsQueueMaker maker_;
  NatsLink link_;
  NatsQueues queues_;
  Mutex ensure_mutex_;  // The later names are those that stay.
  Mutex mutex_;
  ConditionVariable changed_;
  ConditionVariable stored_;  // Apart, so that who waits for tasks is not woken by results.
  std::uint64_t changes_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::size_t wanted_ TANDEM_GUARDED_BY(mutex_) = 0;  // What lease() waits for; 0 while nobody is in it.
  std::vector<NatsMessage> arrived_ TANDEM_GUARDED_BY(mutex_);
  NatsLeases leases_ TANDEM_GUARDED_BY(mutex_);
  bool stopped_ TANDEM_GUARDED_BY(mutex_) = false;
  NatsResults results_ TANDEM_GUARDED_BY(mutex_);
  NatsHeardClients clients_ TANDEM_GUARDED_BY(mutex_);
  // What has subscriptions is last: it ends before what its callbacks use.
  NatsPieces pieces_;
  NatsPublisher publisher_;
  const std::string renewals_;
  NatsSubscription renewed_;
  NatsPull own_;
  NatsPull any_;
  NatsSubscription cancels_;
  NatsSubscription cancels_of_all_;
  NatsSubscription heartbeats_;
};

}  // namespace tandem::detail
