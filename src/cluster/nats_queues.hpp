/// The queues of a pool as JetStream streams and consumers: their names, how they are made, what they hold.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/engine.hpp"
#include "cluster/nats_link.hpp"
#include "core/mutex.hpp"

namespace tandem::detail {

/// Names of one pool and build. Value. docs/internals/cluster.md has the table.
class NatsNames {
 public:
  explicit NatsNames(const EngineOptions& options);

  const std::string& tasks_stream() const noexcept { return tasks_stream_; }
  const std::string& results_stream() const noexcept { return results_stream_; }
  /// Pieces of tasks and pieces of results: two streams, so that the ones leave room for the others.
  const std::string& pieces_stream(const std::string& owner) const noexcept {
    return is_client(owner) ? task_pieces_stream_ : result_pieces_stream_;
  }
  std::string all_tasks() const { return prefix_ + ".t.>"; }
  std::string all_results() const { return prefix_ + ".r.>"; }
  std::string all_pieces(const std::string& owner) const { return pieces_prefix(owner) + ".>"; }
  /// `node`: "_" for any. "*" stands for each one.
  std::string task(const std::string& node, const std::string& client) const;
  /// Which node the subject of a task names; "_" for any.
  std::string node_of_task(const std::string& subject) const;
  std::string result(const std::string& client) const { return prefix_ + ".r." + client; }
  /// Who stores pieces: a client and a node may have the same name.
  static std::string client_owner(const std::string& client) { return "c_" + client; }
  static std::string node_owner(const std::string& node) { return "n_" + node; }
  /// A client's values lie among its pieces; the numbers of these have no such bit.
  static constexpr std::uint64_t kValueBit = std::uint64_t{1} << 63;
  std::string pieces(const std::string& owner, const std::string& number) const;
  std::string piece(const std::string& owner, std::uint64_t number, std::uint64_t index) const;
  /// Consumers. `created`: when their stream was made. Those of two streams have two names, so that a late
  /// acknowledgement for the older one reaches nobody: to the newer one it would speak of another message.
  std::string any_consumer(std::int64_t created) const;
  std::string node_consumer(std::int64_t created, const std::string& node) const;
  std::string client_consumer(std::int64_t created, const std::string& client) const;
  /// Plain messages, which nobody keeps. `node`: "*" for those of every one.
  std::string announcement(const std::string& node) const { return prefix_ + ".n." + node; }
  std::string heartbeat(const std::string& client) const { return prefix_ + ".h." + client; }
  std::string cancel(const std::string& node) const { return prefix_ + ".c." + build_ + "." + node; }

  static bool is_client(const std::string& owner) { return owner.starts_with("c_"); }

 private:
  std::string pieces_prefix(const std::string& owner) const { return prefix_ + (is_client(owner) ? ".p" : ".q"); }

  std::string prefix_;
  std::string build_;
  std::string tasks_stream_;
  std::string results_stream_;
  std::string task_pieces_stream_;
  std::string result_pieces_stream_;
};

/// Makes the queues and looks into them. Threads: every member may be called from any thread.
class NatsQueues {
 public:
  /// The names of the two consumers that an agent asks.
  struct TaskConsumers {
    std::string own{};
    std::string any{};
  };

  NatsQueues(const NatsLink& link, const EngineOptions& options) : link_(link), options_(options), names_(options) {}

  const NatsNames& names() const noexcept { return names_; }
  /// Makes what is missing: the streams, and the consumers of an agent or of a client, whose names it returns. They
  /// are other ones if the streams are. A consumer that does not answer is made anew when that has been so three times.
  /// Throws EngineError, also if one does not answer.
  TaskConsumers ensure_for_node(const std::string& node) TANDEM_EXCLUDES(mutex_);
  std::string ensure_for_client(const std::string& client) TANDEM_EXCLUDES(mutex_);
  /// How large a payload of this owner may be that ever fits into the store, in pieces of so many bytes; all, as long
  /// as the queues were not looked at.
  std::uint64_t most_payload_bytes(const std::string& owner, std::size_t piece_bytes) const noexcept;
  /// Empty if the server does not say.
  std::optional<Census> census(const std::string& client) TANDEM_EXCLUDES(mutex_);
  /// The queue of tasks took a message under this number: it has forgotten something if it ever counts less.
  void note_task_number(std::uint64_t sequence) noexcept;
  /// Drops what there is of a client that has ended, and its consumer unless that is empty. Does not wait.
  void withdraw(const std::string& client, const std::string& consumer) const noexcept;

 private:
  // How often in a row a consumer, made when, has not answered.
  struct Silence {
    std::int64_t created = 0;
    unsigned times = 0;
  };
  struct Held {
    std::uint64_t messages = 0;
    std::map<std::string, std::uint64_t> by_subject{};
    std::uint64_t first = 0, last = 0;  // Of the whole stream.
    std::int64_t created = 0;
  };
  // How often in a row a consumer seemed to hide messages, and the first one that the stream had all the while.
  struct Ignoring {
    unsigned times = 0;
    std::uint64_t first = 0;
  };
  // A stream that is there.
  struct Ensured {
    std::int64_t created = 0;
    std::int64_t most_bytes = 0;  // That it keeps; not above 0: as many as there is room for.
  };
  // When the streams of tasks and of results were made.
  struct Made {
    std::int64_t tasks = 0;
    std::int64_t results = 0;
  };
  // What a stream is to be.
  struct Wanted {
    const std::string& name;
    const std::string subjects;
    bool queue = true;
  };
  // How much each of the streams may keep, and whether one that is there and may keep more is to be changed.
  struct Share {
    std::int64_t bytes = 0;
    bool fresh = false;
  };
  Made ensure_streams() TANDEM_REQUIRES(mutex_);
  std::optional<Made> ensure_streams(const Share& share) TANDEM_REQUIRES(mutex_);
  std::optional<Ensured> ensure_stream(const Wanted& wanted, const Share& share) TANDEM_REQUIRES(mutex_);
  NatsOwner<jsStreamInfo> find(const std::string& stream) const TANDEM_REQUIRES(mutex_);
  void check_still(const std::string& stream, std::int64_t created, const std::vector<std::string>& consumers) const
      TANDEM_REQUIRES(mutex_);
  void ensure_consumer(const std::string& stream, const std::string& name, const std::string& filter,
                       std::chrono::milliseconds ack_wait) TANDEM_REQUIRES(mutex_);
  std::int64_t add_consumer(const std::string& stream, const std::string& name, const std::string& filter,
                            std::chrono::milliseconds ack_wait) const TANDEM_REQUIRES(mutex_);
  bool answers(const std::string& stream, const std::string& consumer) const TANDEM_REQUIRES(mutex_);
  std::optional<Held> look(const std::string& stream, const std::string& subject) const;
  // What a consumer has still to hand out, and has handed out; empty if the server does not say.
  std::optional<std::pair<std::uint64_t, std::uint64_t>> counts_of(const std::string& stream,
                                                                   const std::string& consumer) const;
  void watch(const std::string& stream, const std::string& consumer, std::uint64_t held, std::uint64_t known,
             std::uint64_t first) TANDEM_REQUIRES(mutex_);

  const NatsLink& link_;
  const EngineOptions& options_;
  const NatsNames names_;
  Mutex mutex_;  // One at a time makes queues, and looks.
  std::atomic<std::uint64_t> newest_task_{0};
  // What is known of the streams of pieces, of tasks and of results.
  std::atomic<std::int64_t> task_pieces_bytes_{0}, result_pieces_bytes_{0};
  std::uint64_t rollbacks_ TANDEM_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Ignoring> ignoring_ TANDEM_GUARDED_BY(mutex_);  // By the consumer's name.
  std::map<std::string, Silence> silent_ TANDEM_GUARDED_BY(mutex_);     // By the consumer's name.
};

/// Calls `ensure` until it throws no EngineError any more, at most for about `patience`; then throws the last one.
void ensure_patiently(std::chrono::milliseconds patience, const std::function<void()>& ensure);

}  // namespace tandem::detail
