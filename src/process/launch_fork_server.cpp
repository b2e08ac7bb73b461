#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "core/kill_point.hpp"
#include "process/child_record.hpp"
#include "process/children.hpp"
#include "process/descriptors.hpp"
#include "process/executed_child.hpp"
#include "process/launch.hpp"

namespace tandem::detail {
namespace {

// A server that dies each time while it starts the same child is not worth a fourth.
constexpr int kAttempts = 3;

std::string environment_text(const ProcessOptions& options) {
  std::string text;
  for (const std::string& entry : environment_with(options.environment)) text.append(entry.c_str(), entry.size() + 1);
  return text;
}

/// Asks `server` for the child. Empty if the server died before the child had begun.
std::optional<Launched> ask(Launch& launch, Server& server, StartRequest request, std::span<const int> arguments) {
  ChildChannel channel("a child process");
  const Fd folder = open_file(".", O_PATH | O_DIRECTORY);
  std::vector<int> descriptors = {channel.theirs()};
  if (!folder) throw_errno("cannot open the working directory");
  descriptors.push_back(folder.get());
  const int streams[] = {STDIN_FILENO, STDOUT_FILENO, launch.stderr_fd >= 0 ? launch.stderr_fd : STDERR_FILENO};
  for (unsigned i = 0; i < 3; ++i) {
    if (::fcntl(streams[i], F_GETFD) < 0) continue;
    request.streams |= 1u << i;
    descriptors.push_back(streams[i]);
  }
  descriptors.insert(descriptors.end(), arguments.begin(), arguments.end());
  if (const int error = send_message(server.socket.get(), &request, sizeof request, descriptors)) {
    if (error != EPIPE && error != ECONNRESET) throw_system_error(error, "cannot ask the fork server for a process");
    // The watcher will tell that it is gone, and until then there is no point in trying again.
    launch.child.wait_for_end_or_loss_of(server);
    return std::nullopt;
  }
  TANDEM_KILL_POINT("process.start.asked");
  // While the server is at work.
  ChildRecord::of(*launch.record).inheritance.bequeath();
  channel.close_theirs();
  StartReply reply{};
  std::vector<Fd> pidfd;
  if (receive_message(channel.mine().get(), &reply, sizeof reply, pidfd)) {
    if (reply.error != 0) throw_system_error(reply.error, "the fork server cannot fork process " + launch.setup.name);
    Launched launched;
    launched.pid = reply.pid;
    launched.pidfd = std::move(pidfd.at(0));
    return launched;
  }
  if (reply.pid != 0) {
    // Its descriptor could not be delivered: this process has too many open.
    ::kill(reply.pid, SIGKILL);
    throw_system_error(EMFILE, "cannot open process " + launch.setup.name);
  }
  // Everybody who had the other end is gone: the child was killed before it began, which the server reports, or it was
  // never forked and the server is dead.
  if (launch.child.wait_for_end_or_loss_of(server)) return Launched();
  return std::nullopt;
}

}  // namespace

Launched launch_by_fork_server(Launch& launch) {
  launch.setup.environment = environment_text(launch.options);
  std::vector<int> descriptors;
  const SharedObjectPtr parcel = make_launch_parcel(launch, descriptors);
  TANDEM_KILL_POINT("process.start.parcel");
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::shared_ptr<Server> server = Children::instance().server();
    launch.child.set_server(server);
    const StartRequest request{launch.child.number(), parcel->id(), 0, 0};
    if (std::optional<Launched> launched = ask(launch, *server, request, descriptors)) return std::move(*launched);
  }
  throw Error("the fork server ended " + std::to_string(kAttempts) + " times while it was to start process " +
              launch.setup.name + ": look for its messages on standard error");
}

}  // namespace tandem::detail
