/// A pool of machines with the members of pools of threads and of processes. A library of its own, tandem::cluster.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <tandem/cluster_options.hpp>
#include <tandem/executor.hpp>
#include <tandem/init.hpp>

namespace tandem {
namespace detail {

class LocalClusterKeeper;

/// Notes that agents may enter a program there: they refuse all that was not noted. Always true.
bool note_cluster_entry(RemoteEntry entry) noexcept;
/// One for each call that the program hands to a ClusterExecutor anywhere; set before main(), in the agents too.
template <RemoteEntry kEntry>
inline const bool kClusterEntry = note_cluster_entry(kEntry);

/// Throws WireError for a task that refers to shared objects, but for a Broadcast: they stay on their machine.
void check_can_leave(const RemoteTask& task);

/// A call for each worker process of an agent before its first task of an executor, and what it refers to.
SharedObjectPtr make_initializer(RemoteEntry entry, const void* function, const Encoder& arguments);

/// The RemoteEntry of an initializer; what it returns is dropped.
template <class F, class... Args>
void enter_cluster_initializer(const void* function, Decoder& decoder, Encoder&) {
  std::tuple<F, Args...> all{decode_callable<F>(function, decoder), decode<Args>(decoder)...};
  decoder.expect_end();
  std::apply([](F& fn, Args&... args) { static_cast<void>(invoke_remote(std::move(fn), std::move(args)...)); }, all);
}

template <class F, class... Args>
SharedObjectPtr make_initializer_of(const F& fn, const Args&... args) {
  static_assert(require_portable_call<F, Args...>());
  if constexpr (PortableCallable<F> && (Portable<Args> && ...)) {
    constexpr RemoteEntry kEntry = &enter_cluster_initializer<F, Args...>;
    static_cast<void>(&kClusterEntry<kEntry>);
    Encoder arguments;
    encode_callable(arguments, fn);
    (encode(arguments, args), ...);
    return make_initializer(kEntry, function_of(fn), arguments);
  } else {
    return nullptr;  // Refused above.
  }
}

/// As RemoteCalls, for calls that leave the machine.
struct ClusterCalls : RemoteCalls {
  template <class F, class... Args>
  static auto* make(F&& fn, Args&&... args) {
    return checked(RemoteCalls::make(std::forward<F>(fn), std::forward<Args>(args)...));
  }
  template <class R, class F, class Item>
  static auto* make_chunk(const F& fn, Chunk<R, Item> chunk, unsigned retries) {
    static_cast<void>(&kClusterEntry<&enter_remote_chunk<R, F, Item>>);
    return checked_task(RemoteCalls::make_chunk<R, F, Item>(fn, std::move(chunk), retries));
  }
  /// Longer than within one machine: a task costs some hundred microseconds on its way.
  static constexpr std::chrono::microseconds kChunkTime{5000};

 private:
  template <class Call>
  static Call* checked(Call* call) {
    return call;  // Refused by RemoteCalls.
  }
  template <class R, class F, class... Args>
  static RemoteCall<R, F, Args...>* checked(RemoteCall<R, F, Args...>* call) {
    static_cast<void>(&kClusterEntry<&enter_remote_call<R, F, Args...>>);
    return checked_task(call);
  }
  template <class Call>
  static Call* checked_task(Call* call) {
    try {
      check_can_leave(*call);
    } catch (...) {
      static_cast<FutureState&>(*call).drop_reference();
      throw;
    }
    return call;
  }
};

}  // namespace detail

/// A cluster on this machine, for one program: a private nats-server on a free port of loopback, with a random token,
/// and agents, which are this program started again. Made by local_cluster(). Handle: copies refer to one cluster,
/// which ends with the last of them and of the executors that use it.
///
/// Killed peers: an agent or the server that dies is started again. When this process is gone, however it went, all of
/// it ends within moments, its files too.
class LocalCluster {
 public:
  /// Where its server listens: "nats://127.1.2.3:4567", without the token. Throws StateError if this object was moved
  /// from, as the constructors of ClusterExecutor do.
  [[nodiscard]] const std::string& url() const;

  /// For local_cluster().
  explicit LocalCluster(std::shared_ptr<detail::LocalClusterKeeper> keeper) noexcept : keeper_(std::move(keeper)) {}
  const std::shared_ptr<detail::LocalClusterKeeper>& keeper() const;

 private:
  std::shared_ptr<detail::LocalClusterKeeper> keeper_;
};

/// Starts a cluster on this machine; needs nats-server in the search path, or in /usr/sbin. Waits until its server
/// takes connections. Throws std::invalid_argument, ClusterError if it does not come up, NotInitialized.
[[nodiscard]] LocalCluster local_cluster(LocalClusterOptions options);
[[nodiscard]] inline LocalCluster local_cluster(std::size_t agents) {
  return local_cluster(LocalClusterOptions{.agents = agents});
}

namespace detail {
/// `initializer` may be null.
std::shared_ptr<ExecutorCore> make_cluster_executor(const std::string& url, ClusterOptions options,
                                                    SharedObjectPtr initializer);
std::shared_ptr<ExecutorCore> make_cluster_executor(const LocalCluster& cluster, ClusterOptions options,
                                                    SharedObjectPtr initializer);
std::shared_ptr<ExecutorCore> make_cluster_executor(ClusterOptions options);
}  // namespace detail

/// A pool of machines. Owner: move-only; its destructor waits until everything that was submitted is done.
///
///   tandem::ClusterExecutor executor("tls://head:4222");      // or (tandem::local_cluster(2)): on this machine
///   tandem::Future<Page> page = executor.submit(parse, std::string(text));
///   for (double area : executor.map(area_of, shapes)) total += area;
///
/// It has the members of ProcessExecutor. Tasks run in processes of agents: the same build of this
/// program on other machines, started with the environment variable TANDEM_AGENT, see docs/internals/cluster.md.
/// Callables, arguments and results travel as for a ProcessExecutor, except handles of shared objects (Queue, Event,
/// Value ...), which stay on their machine: submit() throws WireError, and a result with one fails its future. What
/// many tasks need goes to each node once as a Broadcast, see broadcast.hpp.
///
/// Threads: as ProcessExecutor.
/// Killed peers: this object keeps each task until its result is there. One whose agent dies runs again elsewhere, from
/// its beginning: so a task may run more than once, and its result is told once. A task whose own worker process dies
/// fails with TaskCrashed, which holds the crash report and names the node, unless TaskOptions::retries allows another
/// attempt; so does one that ClusterOptions::most_deliveries agents did not survive. A server that is away, or has lost
/// its store, is waited for: no future fails for it. With this process its tasks are gone, as on one machine.
/// Errors: those of ProcessExecutor, and ClusterError from the constructors. BrokenExecutor if the server refuses this
/// side later, or a local cluster is lost. Units: deadlines count from the start in the worker.
/// Cost: some hundred microseconds for a task on its way, and memory for its arguments until it is done. Without
/// ExecutorOptions::workers the constructor waits 1.5 s to hear which agents there are.
class ClusterExecutor : public BasicExecutor<detail::ClusterCalls> {
 public:
  /// The cluster that the environment names, as `tandem run --cluster` sets it: see cluster_environment(). Without
  /// TANDEM_CLUSTER_URL a local cluster of one agent. Throws as the others do.
  explicit ClusterExecutor(ClusterOptions options = {})
      : BasicExecutor(detail::make_cluster_executor(std::move(options))) {}
  /// Connects. The url: "nats://host:port", or "tls://host:port", which must be by TLS; more servers of one cluster
  /// with commas between. Throws std::invalid_argument for options that make no sense and for a server that is refused,
  /// ClusterError if it cannot be reached in ClusterOptions::connect_wait.
  explicit ClusterExecutor(const std::string& url, ClusterOptions options = {})
      : BasicExecutor(detail::make_cluster_executor(url, std::move(options), nullptr)) {}
  /// Keeps the cluster; what `options` say of the server and of leases is that of the cluster.
  explicit ClusterExecutor(const LocalCluster& cluster, ClusterOptions options = {})
      : BasicExecutor(detail::make_cluster_executor(cluster, std::move(options), nullptr)) {}
  /// Each worker process on each node, whenever it is started, calls `initializer(arguments...)` before its first task
  /// of this executor. It travels to each node once. Its processes are this executor's alone: others that share the
  /// agents have theirs. If it throws, or the process dies in it, the executor is broken: all that is not done, and
  /// what is submitted later, fails with BrokenExecutor, which holds the reason. Throws WireError for arguments with
  /// handles, but for a Broadcast.
  template <class F, class... Args>
  ClusterExecutor(const std::string& url, ClusterOptions options, F&& initializer, Args&&... arguments)
      : BasicExecutor(detail::make_cluster_executor(
            url, std::move(options),
            detail::make_initializer_of<std::decay_t<F>, std::decay_t<Args>...>(initializer, arguments...))) {}
  template <class F, class... Args>
  ClusterExecutor(const LocalCluster& cluster, ClusterOptions options, F&& initializer, Args&&... arguments)
      : BasicExecutor(detail::make_cluster_executor(
            cluster, std::move(options),
            detail::make_initializer_of<std::decay_t<F>, std::decay_t<Args>...>(initializer, arguments...))) {}
};

}  // namespace tandem
