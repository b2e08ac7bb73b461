/// A client that loses no task, in short: what ClusterExecutor does with an engine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "cluster/engine_host.hpp"
#include "cluster/engine_records.hpp"

namespace tandem::testing {

/// Keeps each task until its result is there, submits again what is not known to be stored, and what the engine's
/// census lacks. Each task's payload is "<work> <number>". Owner.
class KeepingClient : public EngineClientEvents {
 public:
  KeepingClient(EngineKind kind, const EngineOptions& options);

  /// Adds tasks; work: see agent_main().
  void add(std::uint64_t count, const std::string& work);
  /// Drives the engine until at least `results` tasks have their results. False if that takes too long.
  bool run_until(std::uint64_t results);
  /// Drives the engine until everything that was added is stored.
  bool run_until_stored();
  bool run() { return run_until(added_); }

  /// How often a result came, by the number of the task.
  std::map<std::uint64_t, int> results() const;
  /// How often the census lacked something.
  int recoveries() const { return recoveries_; }
  EngineClient& engine() { return *engine_; }

  void on_stored(const ClusterTaskId& id, const std::vector<std::string>& nodes) override;
  void on_submit_error(const ClusterTaskId& id, const std::string& why) override;
  void on_result(const ClusterTaskId& id, const std::string& node, std::vector<std::byte> result) override;

 private:
  enum class Step { ToSubmit, Submitted, Stored };
  struct Task {
    std::string payload;
    std::uint32_t attempt = 1;
    Step step = Step::ToSubmit;
  };
  template <class Condition>
  bool drive(Condition done);
  void submit_what_waits();
  void look();

  mutable detail::Mutex mutex_;
  detail::ConditionVariable changed_;
  std::map<std::uint64_t, Task> pending_ TANDEM_GUARDED_BY(mutex_);
  std::map<std::uint64_t, int> results_ TANDEM_GUARDED_BY(mutex_);
  std::uint64_t added_ = 0;
  int recoveries_ = 0;
  int looks_ = 0;
  std::uint64_t results_at_look_ = 0;
  std::unique_ptr<EngineClient> engine_;
};

}  // namespace tandem::testing
