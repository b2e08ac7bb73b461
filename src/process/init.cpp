#include <tandem/init.hpp>
#include <tandem/log.hpp>

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "process/agent_hook.hpp"
#include "process/child_main.hpp"
#include "process/children.hpp"
#include "process/executed_child.hpp"
#include "process/server_link.hpp"
#include "process/this_process.hpp"
#include "thread/process_exit.hpp"

namespace tandem {
namespace {

std::atomic<bool> initialized{false};
std::atomic<detail::AgentMain> agent_main{nullptr};

void be_agent() {
  if (const detail::AgentMain run = agent_main.load()) run();
  std::fprintf(stderr,
               "tandem: the environment variable %s asks this program to work for a cluster, but it makes no "
               "ClusterExecutor (tandem::cluster)\n",
               detail::kAgentVariable);
  ::_exit(127);
}

}  // namespace

void detail::set_agent_main(AgentMain run) noexcept {
  agent_main.store(run);
}

bool detail::is_initialized() noexcept {
  return initialized.load(std::memory_order_relaxed);
}

void init() {
  if (initialized.exchange(true)) return;
  // Early, so that static objects made from here on outlive the children.
  detail::arm_process_exit();
  detail::on_process_exit(detail::end_children);
  detail::Seat seat = detail::take_seat();
  switch (seat.as) {
    case detail::ExecutedAs::Program:
      static_cast<void>(log_level());  // A mistake in TANDEM_LOG is said now.
      if (std::getenv(detail::kAgentVariable) != nullptr) be_agent();
      return;
    case detail::ExecutedAs::Server:
      detail::run_fork_server(std::move(seat.socket));
    case detail::ExecutedAs::Child:
      detail::run_portable_child(
          {seat.parcel, std::move(seat.arguments), std::move(seat.socket), detail::Leave::ByExit});
  }
}

}  // namespace tandem
