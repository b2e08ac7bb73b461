/// An agent that is a process of its own, so that it can be killed and stopped.
#pragma once

#include <string>

#include <tandem/process.hpp>
#include <tandem/queue.hpp>

#include "cluster/engine_host.hpp"

namespace tandem::testing {

/// Runs an agent with the work that each task's payload names first; its result is what stands behind that:
/// "echo x" is done at once, "nap x" takes some milliseconds, "hold x" is never done and never renewed. Puts
/// "ready", and "has x" for each task that it leases, into `told`.
void agent_main(EngineKind kind, std::string url, std::string token, std::string node, tandem::Queue<std::string> told);

/// Runs a client that submits one task, puts "stored" into `told`, and does nothing more.
void client_main(EngineKind kind, std::string url, std::string token, tandem::Queue<std::string> told);

/// Such an agent. Owner: kills it.
class AgentProcess {
 public:
  AgentProcess(EngineKind kind, const EngineOptions& options, const std::string& node);
  ~AgentProcess();
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  /// Waits until it says so.
  void wait_for(const std::string& text);
  void kill();
  void pause();
  void go_on();

 private:
  tandem::Queue<std::string> told_;
  tandem::Process process_;
};

}  // namespace tandem::testing
