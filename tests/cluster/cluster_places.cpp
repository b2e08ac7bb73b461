#include "cluster/cluster_places.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>

#include <tandem/cpu.hpp>
#include <tandem/process.hpp>

#include "core/system.hpp"
#include "support/common_service.hpp"
#include "support/temporary_directory.hpp"

namespace tandem::testing {
namespace {

std::optional<LocalCluster>& cluster() {
  static std::optional<LocalCluster> made;
  return made;
}

std::string& gates() {
  static std::string made;
  return made;
}

class ClusterEnvironment final : public ::testing::Environment {
 public:
  void SetUp() override {
    // Others that run at the same time would take its files for left behind by them.
    ::setenv("TMPDIR", directory_.path().c_str(), 1);
    gates() = directory_.path().string();
    cluster().emplace(local_cluster(LocalClusterOptions{.agents = 1, .slots = cpu_count()}));
    // Its processes come and go as its agent needs them.
    for (const ProcessInfo& child : active_children())
      if (child.name == "tandem-local-cluster") leave_out_service(child.pid);
    // What this process keeps from its first executor on.
    ClusterExecutor(*cluster()).submit(tasks::nothing).get();
    ::unsetenv("TMPDIR");
  }
  void TearDown() override { cluster().reset(); }

 private:
  const TemporaryDirectory directory_{"cluster_places"};
};

// gtest owns it.
[[maybe_unused]] const auto* const environment = ::testing::AddGlobalTestEnvironment(new ClusterEnvironment);

}  // namespace

PipeGate::PipeGate() : pipe_(std::make_shared<Pipe>()) {
  // One that is about to be decoded, in a worker, gets its path then.
  if (gates().empty()) return;
  static std::atomic<int> made{0};
  pipe_->path = gates() + "/gate-" + std::to_string(++made);
  pipe_->is_own = true;
  if (::mkfifo(pipe_->path.c_str(), 0600) != 0) detail::throw_errno("cannot make the pipe " + pipe_->path);
}

PipeGate::Pipe::~Pipe() {
  if (writer >= 0) ::close(writer);
  if (is_own) ::unlink(path.c_str());
}

void PipeGate::set() {
  if (pipe_->writer >= 0) return;
  // Both ways, so that it does not wait for the other side.
  pipe_->writer = ::open(pipe_->path.c_str(), O_RDWR | O_CLOEXEC);
  if (pipe_->writer < 0 && !pipe_->is_own && errno == ENOENT) return;  // Nobody waits for it.
  if (pipe_->writer < 0) detail::throw_errno("cannot open the pipe " + pipe_->path);
}

void PipeGate::wait() const {
  const detail::Fd fd(detail::retry_on_signal([&] { return ::open(pipe_->path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!fd) detail::throw_errno("cannot open the pipe " + pipe_->path);
}

const LocalCluster& common_cluster() {
  return *cluster();
}

}  // namespace tandem::testing
