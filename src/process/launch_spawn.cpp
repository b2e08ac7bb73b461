#include "core/kill_point.hpp"
#include "process/children.hpp"
#include "process/descriptors.hpp"
#include "process/executed_child.hpp"
#include "process/launch.hpp"

namespace tandem::detail {
namespace {

constexpr std::size_t kSmallParcelBytes = 64 * 1024;

}  // namespace

SharedObjectPtr make_launch_parcel(const Launch& launch, std::vector<int>& descriptors) {
  Encoder encoder(Encoder::Purpose::Arguments);
  encode(encoder, launch.setup);
  encoder.refer(launch.record);
  launch.body->encode(encoder);
  if (encoder.descriptors().size() > kMaxDescriptors - 5)
    throw std::invalid_argument("process " + launch.setup.name + " has " +
                                std::to_string(encoder.descriptors().size()) + " descriptors as arguments: at most " +
                                std::to_string(kMaxDescriptors - 5) + " can travel");
  descriptors = encoder.descriptors();
  return make_parcel(encoder.bytes().data(), encoder.bytes().size(), encoder.objects());
}

Launched launch_by_spawn(Launch& launch) {
  std::vector<int> descriptors;
  Launched launched;
  launched.parcel = make_launch_parcel(launch, descriptors);
  TANDEM_KILL_POINT("process.start.parcel");
  // A small one is kept until the child ends: to be told that it is no longer needed would cost more.
  std::optional<ChildChannel> channel;
  if (parcel_bytes(*launched.parcel).second > kSmallParcelBytes) channel.emplace("a child process");
  Execution execution;
  execution.as = ExecutedAs::Child;
  execution.lifeline_fd = launch.lifeline_fd;
  execution.socket_fd = channel ? channel->theirs() : -1;
  execution.stderr_fd = launch.stderr_fd;
  execution.parcel = launched.parcel->id();
  execution.arguments = descriptors;
  execution.environment = environment_with(launch.options.environment);
  launched.pid = execute_this_program(execution);
  TANDEM_KILL_POINT("process.start.executed");
  launched.pidfd = open_new_child(launched.pid);
  if (channel) launched.channel = std::move(channel->mine());
  return launched;
}

}  // namespace tandem::detail
