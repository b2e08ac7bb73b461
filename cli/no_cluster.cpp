// In place of the cluster_*.cpp in a build without the cluster.
#include "bad_input.hpp"
#include "cluster_commands.hpp"
#include "cluster_compare.hpp"

namespace tandem::tool {
namespace {

[[noreturn]] void refuse() {
  throw BadInput("this build of tandem has no cluster: it was built with TANDEM_CLUSTER=OFF");
}

class Absent final : public ProgramCommand {
 public:
  Absent(CLI::App& app, const char* name) : command_(app.add_subcommand(name, "Not in this build.")) {
    command_->allow_extras();
  }
  bool is_chosen() const override { return command_->parsed(); }
  int run(Interruption&, const std::vector<std::string>&) override { refuse(); }

 private:
  CLI::App* command_;
};

}  // namespace

std::vector<std::unique_ptr<ProgramCommand>> cluster_commands(CLI::App& app) {
  std::vector<std::unique_ptr<ProgramCommand>> commands;
  for (const char* name : {"agent", "run", "cluster"}) commands.push_back(std::make_unique<Absent>(app, name));
  return commands;
}

int run_cluster_keeper() {
  refuse();
}

struct ComparedCluster::Inside {};
ComparedCluster::ComparedCluster(const std::optional<std::string>&, std::size_t) {
  refuse();
}
ComparedCluster::~ComparedCluster() = default;
void ComparedCluster::join(CompareOptions&) {}

}  // namespace tandem::tool
