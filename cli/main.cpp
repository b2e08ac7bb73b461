// The tool `tandem`: parses the command line, runs the command, and turns errors into one line and an exit code.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <sstream>
#include <tandem/init.hpp>
#include <tandem/version.hpp>

#include "bad_input.hpp"
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

/// Words for what CLI11 refuses; it says "not expected" of a command or work that does not exist.
std::string describe(const CLI::ParseError& error, const std::vector<std::string>& left_over) {
  const bool has_extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !left_over.empty();
  if (has_extra && !left_over.front().starts_with('-')) {
    const std::string extra = printable(left_over.front());
    if (error.get_name() == "tandem") return fmt::format("no such command: {}; see tandem --help", extra);
    if (error.get_name() == "compare")
      return fmt::format("compare: no such work: {}; see tandem compare --list", extra);
  }
  return error.what();
}

int run(int argc, char** argv, Interruption& interruption) {
  CLI::App app("Parallelism for C++20 on Linux, with one API for threads and processes.", "tandem");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(0, 1);
  CompareCommand compare(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {
    std::ostringstream text;
    app.exit(wanted, text, text);
    const auto printing = interruption.hold_off();
    print(text.str());
    return kExitGood;
  } catch (const CLI::ParseError& error) {
    throw BadInput(describe(error, app.remaining(true)));
  }
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
