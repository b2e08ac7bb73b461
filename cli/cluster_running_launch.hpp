/// A command of this machine that runs agents, while it runs.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>

#include "cluster_keeper_reports.hpp"
#include "cluster_launcher.hpp"

namespace tandem::tool {

/// Owner of the pipes to it; whoever has it ends it. For one thread, which waits for it beside other things, so nothing
/// in here waits.
class RunningLaunch {
 public:
  /// Not started yet. `run_id`: of the plan that it was made by.
  RunningLaunch(Launch launch, const std::string& run_id, KeeperReports& reports);

  const std::string& where() const { return launch_.where; }

  /// Throws std::system_error.
  void start();
  /// Once it has ended, or could not be started: when it is to be started again, later each time that it did not run
  /// for long.
  void start_later();
  /// When that is; never, for one that runs.
  std::chrono::steady_clock::time_point start_at() const { return start_at_; }

  bool runs() const { return pid_ > 0; }
  /// What it and its agents say; -1 once all of them have ended.
  int out_fd() const { return out_.get(); }
  /// Reads what has come of it, and reports it.
  void read_output();
  /// Looks whether it has ended; once after each end this is why, in its own words if it had some.
  std::optional<std::string> take_end();

  /// Has its agents leave: after their tasks, and at once if it is said a second time.
  void leave();
  /// Has its agents end, whatever they do.
  void end_agents();
  /// Kills what that did not end, and all that it has started.
  void kill() const;

 private:
  void take_line(const std::string& line);

  Launch launch_;
  std::string mark_;  // Of a line that says which agent was started.
  KeeperReports* reports_;
  pid_t pid_ = -1;
  OwnFd in_{};  // Where words go; closed when it is to leave.
  OwnFd out_{};
  std::string line_{};  // Not at its end yet.
  std::string last_line_{};
  std::size_t started_ = 0;  // Agents.
  std::chrono::steady_clock::time_point since_{};
  std::chrono::steady_clock::time_point start_at_ = std::chrono::steady_clock::time_point::max();
  std::chrono::milliseconds start_after_;
};

}  // namespace tandem::tool
