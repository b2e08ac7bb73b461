/// The suites of executors for the place that is a cluster: included before each of their files (see
/// tests/cmake.d/cluster.cmake), so that their tests run there instead of in threads and processes.
///
/// All executors of a test program have one local cluster, which is there before the first test begins: whatever that
/// starts is not left behind by the test.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <tandem/cluster.hpp>

#include "support/executor_places.hpp"

namespace tandem::testing {

/// That of this program.
const LocalCluster& common_cluster();

/// Made as the other executors are.
class CommonClusterExecutor : public ClusterExecutor {
 public:
  CommonClusterExecutor() : CommonClusterExecutor(ExecutorOptions()) {}
  explicit CommonClusterExecutor(ExecutorOptions options)
      : ClusterExecutor(common_cluster(), ClusterOptions{.executor = std::move(options)}) {}
  template <class F, class... Args>
  CommonClusterExecutor(ExecutorOptions options, F&& initializer, Args&&... arguments)
      : ClusterExecutor(common_cluster(), ClusterOptions{.executor = std::move(options)}, std::forward<F>(initializer),
                        std::forward<Args>(arguments)...) {}
};

/// As an Event, between a test and its tasks in a cluster on this machine: a named pipe, which opens for reading once
/// somebody has it open for writing. Who has set it must live until the other side has waited. Handle.
class PipeGate {
 public:
  PipeGate();
  void set();
  void wait() const;

  // For the wire.
  template <class Archive>
  void save(Archive& archive) const {
    archive(pipe_->path);
  }
  template <class Archive>
  void load(Archive& archive) {
    pipe_ = std::make_shared<Pipe>();
    archive(pipe_->path);
  }

 private:
  struct Pipe {
    Pipe() = default;
    ~Pipe();
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    std::string path{};
    bool is_own = false;
    int writer = -1;
  };
  std::shared_ptr<Pipe> pipe_;
};

struct InCluster {
  static constexpr const char* kName = "Cluster";
  using Executor = CommonClusterExecutor;
  using Gate = PipeGate;
  static ExecutorOptions options() { return {}; }
};

using ClusterPlaces = ::testing::Types<InCluster>;

}  // namespace tandem::testing

// What the suites name from here on.
#define ExecutorPlaces ClusterPlaces
