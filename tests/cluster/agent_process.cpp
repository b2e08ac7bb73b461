#include "cluster/agent_process.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "cluster/engine_records.hpp"

namespace tandem::testing {

void agent_main(EngineKind kind, std::string url, std::string token, std::string node,
                tandem::Queue<std::string> told) {
  EngineOptions options;
  options.url = std::move(url);
  options.token = std::move(token);
  options.build_id = "build-1";
  options.lease_time = std::chrono::seconds(1);
  options.connect_wait = kPatience;
  AgentRecord record;
  const auto agent = connect_agent(kind, options, node, record);
  told.put("ready");
  for (;;) {
    for (const TaskLease& lease : agent->lease(4, std::chrono::seconds(60))) {
      const std::string text = text_of(lease.payload);
      const std::string work = text.substr(0, text.find(' '));
      const std::string rest = text.substr(text.find(' ') + 1);
      told.put("has " + rest);
      if (work == "hold") ::pause();
      if (work == "nap") std::this_thread::sleep_for(std::chrono::milliseconds(5));
      agent->finish(lease, bytes_of(rest));
    }
  }
}

void client_main(EngineKind kind, std::string url, std::string token, tandem::Queue<std::string> told) {
  EngineOptions options;
  options.url = std::move(url);
  options.token = std::move(token);
  options.build_id = "build-1";
  options.connect_wait = kPatience;
  options.client_silence = std::chrono::seconds(1);
  ClientRecord record;
  const auto client = connect_client(kind, options, "client-1", record);
  submit_stored(*client, record, 1, "task");
  told.put("stored");
  ::pause();
}

AgentProcess::AgentProcess(EngineKind kind, const EngineOptions& options, const std::string& node)
    : process_(agent_main, kind, options.url, options.token, node, told_) {
  process_.start();
  wait_for("ready");
}

AgentProcess::~AgentProcess() {
  kill();
}

void AgentProcess::wait_for(const std::string& text) {
  while (true) {
    const std::optional<std::string> said = told_.get_for(kPatience);
    if (!said) {
      ADD_FAILURE() << "the agent does not say: " << text;
      return;
    }
    if (*said == text) return;
  }
}

void AgentProcess::kill() {
  process_.kill();
  process_.join();
}

void AgentProcess::pause() {
  ::kill(process_.pid().value(), SIGSTOP);
}

void AgentProcess::go_on() {
  ::kill(process_.pid().value(), SIGCONT);
}

}  // namespace tandem::testing
