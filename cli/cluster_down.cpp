#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "bad_input.hpp"
#include "cluster_state.hpp"
#include "cluster_status.hpp"
#include "exit_code.hpp"
#include "output.hpp"
#include "text.hpp"

namespace tandem::tool {

ClusterDown::ClusterDown(CLI::App& cluster)
    : command_(cluster.add_subcommand("down",
                                      "Ends what tandem cluster up started: agents, when their tasks are done, "
                                      "then the server and its files.")) {
  command_->add_option("--name", name_, "of the cluster (default: default)")->type_name("NAME");
  command_->add_flag("--now", now_, "do not wait for tasks that run");
}

int ClusterDown::run(Interruption& interruption) {
  const std::string folder = state_folder(name_);
  const std::optional<ClusterRecord> record = read_record(folder);
  if (record && record->host != own_host())
    throw BadInput(fmt::format("the cluster {} was started on {}: it is ended there", name_, printable(record->host)));
  // The descriptor first: if the keeper still has the folder then, it is the keeper's.
  const OwnFd keeper(record ? static_cast<int>(::syscall(SYS_pidfd_open, record->pid, 0)) : -1);
  if (!record || !is_taken(folder)) {
    if (is_taken(folder)) throw BadInput(fmt::format("the cluster {} is just starting", name_));
    if (!record) throw BadInput(fmt::format("the cluster {} is not up", name_));
    if (const OwnFd lock = take_folder(folder); lock) remove_folder(folder, record);
    print(fmt::format("cluster {}: its keeper was killed before; its files are removed\n", name_));
    return kExitGood;
  }
  if (!keeper) throw std::system_error(errno, std::generic_category(), "cannot find the keeper of the cluster");
  if (::syscall(SYS_pidfd_send_signal, keeper.get(), now_ ? SIGINT : SIGTERM, nullptr, 0) != 0 && errno != ESRCH)
    throw std::system_error(errno, std::generic_category(), "cannot end the keeper of the cluster");
  pollfd wait{keeper.get(), POLLIN, 0};
  while (::poll(&wait, 1, -1) < 0 && errno == EINTR) continue;
  interruption.hold_off_for_good();
  print(fmt::format("cluster {} is down\n", name_));
  return kExitGood;
}

}  // namespace tandem::tool
