// The tool `tandem`: parses the command line, runs the command, and turns errors into one line and an exit code.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <sstream>
#include <string_view>
#include <tandem/init.hpp>
#include <tandem/version.hpp>

#include "bad_input.hpp"
#include "cluster_commands.hpp"
#include "compare_command.hpp"
#include "exit_code.hpp"
#include "interruption.hpp"
#include "output.hpp"
#include "text.hpp"

namespace {

using namespace tandem::tool;

std::string version_text() {
  return fmt::format("tandem {}.{}.{}", TANDEM_VERSION_MAJOR, TANDEM_VERSION_MINOR, TANDEM_VERSION_PATCH);
}

/// The commands that were given, as a user wrote them: "tandem compare sum".
std::string chosen(const CLI::App& app) {
  std::string path = app.get_name();
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  return path;
}

/// Words for what CLI11 refuses: one line that names the thing, and says where to look.
std::string describe(const CLI::App& app, const CLI::ParseError& error) {
  const std::string path = chosen(app);
  const std::string see = fmt::format("see {} --help", path);
  const std::string of = path == "tandem" ? "" : path.substr(path.find(' ') + 1) + ": ";
  // What it does not know it says last, behind what it misses.
  const std::vector<std::string> left_over = app.remaining(true);
  const auto option =
      std::find_if(left_over.begin(), left_over.end(), [](const auto& word) { return word.starts_with('-'); });
  if (option != left_over.end()) return fmt::format("{}no such option: {}; {}", of, printable(*option), see);
  if (!left_over.empty()) {
    const std::string extra = printable(left_over.front());
    if (path == "tandem") return fmt::format("no such command: {}; {}", extra, see);
    if (path == "tandem compare") return fmt::format("compare: no such work: {}; see tandem compare --list", extra);
    if (path == "tandem cluster") return fmt::format("cluster: no such command: {}; {}", extra, see);
    if (path == "tandem run" || path == "tandem agent" || path == "tandem cluster up")
      return fmt::format("{}the program stands behind --: {} [options] -- {}", of, path, extra);
    return fmt::format("{}one argument too many: {}; {}", of, extra, see);
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    const std::string text = error.what();  // "--to is required"
    return fmt::format("{}{} is missing; {}", of, text.substr(0, text.find(" is required")), see);
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const std::string text = error.what();  // "--to: 1 required N missing"
    return fmt::format("{}{} needs a value; {}", of, text.substr(0, text.find(':')), see);
  }
  return of + error.what();
}

/// What stands behind the first "--" of a command that takes a program: none of it is the tool's own.
std::vector<std::string> take_program(int& argc, char** argv) {
  constexpr std::array<std::string_view, 3> kTakeProgram = {"run", "agent", "cluster"};
  if (argc < 2 || std::find(kTakeProgram.begin(), kTakeProgram.end(), argv[1]) == kTakeProgram.end()) return {};
  char** const end = argv + argc;
  char** const at = std::find(argv, end, std::string_view("--"));
  std::vector<std::string> program;
  if (at != end) program.assign(at + 1, end);
  argc = static_cast<int>(at - argv);
  return program;
}

int run(int argc, char** argv, Interruption& interruption) {
  CLI::App app("Parallelism for C++20 on Linux, with one API for threads, processes and clusters.", "tandem");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(0, 1);
  CompareCommand compare(app);
  const std::vector<std::unique_ptr<ProgramCommand>> commands = cluster_commands(app);
  const std::vector<std::string> program = take_program(argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {
    std::ostringstream text;
    app.exit(wanted, text, text);
    const auto printing = interruption.hold_off();
    print(text.str());
    return kExitGood;
  } catch (const CLI::ParseError& error) {
    throw BadInput(describe(app, error));
  }
  for (const std::unique_ptr<ProgramCommand>& command : commands)
    if (command->is_chosen()) return command->run(interruption, program);
  if (!compare.is_chosen()) throw BadInput("which command? See tandem --help");
  return compare.run(interruption);
}

/// Says what went wrong, unless the tool is being ended by a signal.
int fail(Interruption& interruption, int code, const std::string& text) {
  interruption.hold_off_for_good();
  print_error(text);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  // Who started the tool may ignore this one, as some servers do: then nobody is told how a child ended.
  std::signal(SIGCHLD, SIG_DFL);
  prepare_output();
  if (argc == 2 && std::string_view(argv[1]) == kKeeperWord) return run_cluster_keeper();
  // Never destroyed: its thread waits for signals until the very end.
  auto& interruption = *new Interruption;
  try {
    return run(argc, argv, interruption);
  } catch (const BadInput& error) {
    return fail(interruption, kExitBadInput, error.what());
  } catch (const tandem::WorkerFailed& error) {
    // Ctrl-C on a terminal reaches the workers as well, and one may be gone before this process has seen the signal.
    const int signal = error.crash_report() ? error.crash_report()->signal : 0;
    if (signal == SIGINT || signal == SIGTERM) interruption.end_by(signal);
    return fail(interruption, kExitFailed, error.what());
  } catch (const std::exception& error) {
    return fail(interruption, kExitFailed, error.what());
  }
}
