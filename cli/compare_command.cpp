#include "compare_command.hpp"

#include <fmt/format.h>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <tandem/cpu.hpp>

#include "bad_input.hpp"
#include "cluster_compare.hpp"
#include "exit_code.hpp"
#include "json.hpp"
#include "number.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "table.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

constexpr std::size_t kMostWorkers = 1024;
constexpr std::size_t kMostRuns = 10'000;

std::vector<Where> parse_places(const std::string& text) {
  std::vector<Where> places;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    const std::optional<Where> where = parse_where(name);
    if (!where)
      throw BadInput(fmt::format("--where {}: no such place: '{}'; there are serial, threads, gil, processes, cluster",
                                 printable(text), printable(name)));
    places.push_back(*where);
    begin = end + 1;
  }
  return places;
}

}  // namespace

CompareCommand::CompareCommand(CLI::App& app)
    : command_(app.add_subcommand(
          "compare",
          "Runs the same work serially, on threads, on threads under a Gil, on processes and in a cluster, and "
          "says what each cost and where the work should run.")) {
  command_
      ->add_option("--workers", workers_, "parts that the work is cut into (default: the cores there are, at least 2)")
      ->type_name("N");
  command_->add_option("--runs", runs_, "measured rounds, after one that warms up (default: 5)")->type_name("R");
  command_
      ->add_option("--where", where_,
                   "the rows to show, of serial,threads,gil,processes,cluster (default: the first four)")
      ->type_name("PLACE,...");
  command_
      ->add_option("--cluster", cluster_,
                   "the cluster of --where cluster: one that is up, by its name, or the url of a "
                   "server (default: one on this machine)")
      ->type_name("NAME|URL");
  command_->add_flag("--json", json_, "print one JSON object instead of the table");
  command_->add_flag("--list", list_, "describe the works");
  command_->require_subcommand(0, 1);
  command_->footer(
      "The serial run is always made: speed-ups are against it.\n"
      "Exit codes: 0 good, 1 failed, 2 bad input, 3 the results differ, 130 Ctrl-C.");
  for (std::unique_ptr<Work>& work : all_works()) {
    CLI::App* const choice = command_->add_subcommand(work->name(), work->description());
    choice->fallthrough();
    choice->footer("The options of tandem compare may stand here too: see tandem compare --help.");
    work->add_options(*choice);
    choices_.push_back({choice, std::move(work)});
  }
}

int CompareCommand::run(Interruption& interruption) const {
  if (list_) {
    const auto printing = interruption.hold_off();
    print(list());
    return kExitGood;
  }
  CompareOptions how = options(interruption);
  const Workload work = chosen_work().make();
  check_output();
  std::optional<ComparedCluster> cluster;
  if (std::find(how.where.begin(), how.where.end(), Where::Cluster) != how.where.end()) {
    if (chosen_work().name() == "plugin")
      throw BadInput("--where cluster: not for plugins, whose libraries agents have not loaded");
    cluster.emplace(cluster_, how.workers != 0 ? how.workers : std::max<std::size_t>(2, cpu_count()));
    cluster->join(how);
  } else if (cluster_) {
    throw BadInput("--cluster: only with --where ...,cluster");
  }
  Progress progress;
  how.on_progress = [&](std::size_t done, std::size_t total, std::string_view what) {
    const auto printing = interruption.hold_off();
    progress.show(done, total, what);
  };
  const Comparison found = compare(work, how);
  interruption.hold_off_for_good();
  print(json_ ? to_json(found) : to_table(found));
  if (found.agree) return kExitGood;
  print_error(fmt::format("the results differ: {}", found.difference));
  return kExitDifferent;
}

const Work& CompareCommand::chosen_work() const {
  for (const Choice& choice : choices_)
    if (choice.app->parsed()) return *choice.work;
  throw BadInput("compare: which work? See tandem compare --list");
}

std::string CompareCommand::list() const {
  std::string text;
  for (const Choice& choice : choices_) {
    text += choice.work->usage() + "\n";
    for (const std::string& line : wrap(choice.work->description(), 76)) text += "    " + line + "\n";
  }
  return text;
}

CompareOptions CompareCommand::options(Interruption& interruption) const {
  CompareOptions how;
  if (workers_) how.workers = parse_number("--workers", *workers_, 1, kMostWorkers);
  how.runs = parse_number("--runs", runs_, 1, kMostRuns);
  if (where_) how.where = parse_places(*where_);
  how.stop = interruption.stop_token();
  return how;
}

}  // namespace tandem::tool
