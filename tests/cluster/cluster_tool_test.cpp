// The tool's commands for clusters: `tandem agent`, `run`, `cluster up|status|down` and `compare --where cluster`.
// Hosts are played by this machine: programs named ssh, srun and mpirun in a folder of the search path, and real
// servers of ssh on addresses of loopback.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <tandem/detail/deadline.hpp>

#include "cluster/agent_environment.hpp"
#include "cluster/certificates.hpp"
#include "cluster/nats_server.hpp"
#include "core/system.hpp"
#include "support/asleep.hpp"
#include "support/leak_checked_test.hpp"
#include "support/sanitizers.hpp"
#include "support/temporary_directory.hpp"
#include "support/tool.hpp"

namespace tandem::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kProgram = TANDEM_TOOL_PROGRAM;
constexpr const char* kSum = "570 none\n";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Processes whose environment at their start had the text, but for this one; of this program only, if one is given.
std::vector<pid_t> marked_processes(const std::string& mark, const std::string& program = "") {
  std::vector<pid_t> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || pid == ::getpid() || read_file(entry.path() / "environ").find(mark) == std::string::npos) continue;
    if (program.empty() || std::filesystem::read_symlink(entry.path() / "exe", ignored) == program)
      found.push_back(pid);
  }
  return found;
}

/// Those of them that run the program as agents: their workers are children of one. As two looks agree: a process that
/// just begins or ends is not seen as what it is.
std::vector<pid_t> agents_of(const std::string& mark) {
  std::optional<std::vector<pid_t>> before;
  for (;;) {
    const std::vector<pid_t> all = marked_processes(mark, kProgram);
    std::vector<pid_t> agents;
    for (const pid_t pid : all) {
      const std::string stat = read_file(fmt::format("/proc/{}/stat", pid));  // "pid (name) state parent ..."
      const std::size_t end = stat.rfind(')');
      if (end == std::string::npos) continue;
      const pid_t parent = std::atoi(stat.c_str() + end + 4);
      if (std::find(all.begin(), all.end(), parent) == all.end()) agents.push_back(pid);
    }
    if (before == agents) return agents;
    before = std::move(agents);
  }
}

/// Waits until none of them is left; says which are otherwise.
std::string wait_for_none(const std::string& mark, const std::string& program = "") {
  for (int round = 0; round < 200; ++round) {
    const std::vector<pid_t> left = marked_processes(mark, program);
    if (left.empty()) return "";
    const detail::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, left[0], 0)));
    pollfd wait{pidfd.get(), POLLIN, 0};
    if (pidfd && ::poll(&wait, 1, 60'000) == 0)
      return fmt::format("{} is left: {}", left[0], read_file(fmt::format("/proc/{}/cmdline", left[0])));
  }
  return "there are new ones again and again";
}

class ClusterToolTest : public LeakCheckedTest {
 protected:
  ClusterToolTest() {
    ::setenv("XDG_RUNTIME_DIR", folder_.path().c_str(), 1);
    ::setenv("TMPDIR", folder_.path().c_str(), 1);
    ::setenv("TANDEM_TEST_MARK", mark_.c_str(), 1);
    for (const char* name : {"TANDEM_CLUSTER_URL", "TANDEM_CLUSTER_TOKEN", "TANDEM_CLUSTER_TOKEN_FILE", "SLURM_JOB_ID"})
      ::unsetenv(name);
    std::filesystem::create_directory(folder_.path() / "bin");
    ::setenv("PATH", fmt::format("{}:{}", (folder_.path() / "bin").string(), path_).c_str(), 1);
  }
  ~ClusterToolTest() override {
    run_tool({"cluster", "down", "--now"});
    EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark_), "");
    EXPECT_FALSE(std::filesystem::exists(state())) << "the cluster's files are left";
    ::unsetenv("TMPDIR");
    ::setenv("PATH", path_.c_str(), 1);
  }
  bool keep_services() const override { return false; }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(180); }

  std::filesystem::path state() const { return folder_.path() / "tandem" / "default"; }
  const std::string& mark() const { return mark_; }
  std::filesystem::path file(const std::string& name) const { return folder_.path() / name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(file(name)) << text;
    return file(name);
  }
  void make_program(const std::string& name, const std::string& script) const {
    write("bin/" + name, "#!/bin/sh\n" + script);
    ::chmod(file("bin/" + name).c_str(), 0755);
  }
  /// One that runs the command here; it notes its words, which everybody on a machine can see. Of the hosts, `nohost`
  /// is unknown, `down` cannot be reached, and `silent` never answers: it says so by the pipe `asked`.
  void fake_ssh() const {
    make_program(
        "ssh", fmt::format(
                   "echo \"$*\" >> {0}/words\n"
                   "while [ \"$1\" != -- ]; do shift; done; shift; host=$1; shift\n"
                   "case $host in\n"
                   "nohost) echo 'ssh: Could not resolve hostname nohost: Name or service not known' >&2; exit 255 ;;\n"
                   "down) echo 'ssh: connect to host down port 22: No route to host' >&2; exit 255 ;;\n"
                   "silent) echo asked > {0}/asked; exec sleep 1000 ;;\n"
                   "esac\nexec \"$@\"\n",
                   folder_.path().string()));
  }
  ToolRun up(std::vector<std::string> options, const std::vector<std::string>& program = {kProgram}) const {
    options.insert(options.begin(), {"cluster", "up"});
    options.emplace_back("--");
    options.insert(options.end(), program.begin(), program.end());
    return run_tool(options);
  }

 private:
  TemporaryDirectory folder_{"cluster_tool"};
  const std::string mark_ = random_secret();
  const std::string path_ = std::getenv("PATH");
};
/// With the libraries of TLS, which the thread sanitizer does not follow.
class ClusterToolTlsTest : public ClusterToolTest {};

std::string url_of(const NatsServer& server) {
  return fmt::format("nats://{}:{}", server.host(), server.port());
}

/// Asks for the status until it is as it should be: agents tell of themselves once in a second, and one that is late
/// is not in it. The last answer.
template <class Matcher>
ToolRun wait_for_status(const std::vector<std::string>& options, const Matcher& matcher) {
  std::vector<std::string> words = {"cluster", "status"};
  words.insert(words.end(), options.begin(), options.end());
  const detail::Deadline deadline = detail::Deadline::after(std::chrono::seconds(60));
  for (;;) {
    ToolRun run = run_tool(words);
    if (::testing::Matches(matcher)(run.out) || deadline.passed()) return run;
  }
}

/// That it becomes so.
template <class Matcher>
void expect_status(const std::vector<std::string>& options, const Matcher& matcher) {
  const ToolRun run = wait_for_status(options, matcher);
  EXPECT_THAT(run.out, matcher) << run.err;
}

/// One line on standard error that names the thing, code 2, and nothing was made.
void expect_refusal(const std::vector<std::string>& arguments, const std::string& thing) {
  const ToolRun run = run_tool(arguments);
  EXPECT_EQ(run.code, 2) << thing;
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_THAT(run.err, AllOf(StartsWith("tandem: "), HasSubstr(thing)));
}

// --- tandem agent

TEST_F(ClusterToolTest, AgentRefusesBadInput) {
  const std::string no_token = write("empty", "\n"), text = write("text", "no certificate");
  const std::vector<std::string> url = {"agent", "--url", "nats://127.0.0.1:4222"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = url;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  expect_refusal({"agent"}, "which program?");
  expect_refusal({"agent", "true"}, "the program stands behind --");
  expect_refusal({"agent", "--", "true"}, "which server? Say --url");
  expect_refusal({"agent", "--url", "127.0.0.1", "--", "true"}, "must begin with nats:// or tls://");
  expect_refusal({"agent", "--url", "nats://secret@127.0.0.1", "--", "true"}, "no secret may stand on a command line");
  expect_refusal({"agent", "--url", "nats://10.0.0.1", "--", "true"}, "--allow-unprotected-server");
  expect_refusal({"agent", "--url", "tls://10.0.0.1", "--", "true"}, "--allow-unprotected-server");
  expect_refusal(with({"--slots", "0", "--", "true"}), "--slots 0");
  expect_refusal(with({"--slots", "x", "--", "true"}), "--slots x");
  expect_refusal(with({"--drain", "20", "--", "true"}), "--drain 20");
  expect_refusal(with({"--lease", "1ms", "--", "true"}), "--lease 1ms");
  expect_refusal(with({"--node", "a b", "--", "true"}), "--node a b");
  expect_refusal(with({"--pool", "", "--", "true"}), "--pool");
  expect_refusal(with({"--token-file", "/no/such/file", "--", "true"}), "/no/such/file: cannot be read");
  expect_refusal(with({"--token-file", no_token, "--", "true"}), "does not hold a token");
  expect_refusal(with({"--tls-ca", text, "--", "true"}), "is not a file in PEM form");
  expect_refusal(with({"--tls-cert", text, "--", "true"}), "--tls-cert needs --tls-key");
  expect_refusal(with({"--", "/no/such/program"}), "/no/such/program: no such program");
  expect_refusal(with({"--", "no-such-program"}), "no-such-program: no such program in the search path");
  expect_refusal(with({"--", text}), "is no program that can be executed");
}

TEST_F(ClusterToolTest, AgentBecomesTheProgramWithItsOptionsInTheEnvironment) {
  const std::string token = write("token", mark() + "\n");
  make_program("show", "env | grep ^TANDEM_ | sort; echo \"$@\"; trap | grep -c . ; echo pid $$\n");
  RunningTool tool({"agent",
                    "--url",
                    "nats://127.0.0.1:4222",
                    "--token-file",
                    token,
                    "--slots",
                    "3",
                    "--node",
                    "n1",
                    "--drain",
                    "5m",
                    "--lease",
                    "2s",
                    "--pool",
                    "p",
                    "--",
                    "show",
                    "--slots",
                    "--",
                    "x y"});
  const pid_t pid = tool.pid();
  const ToolRun run = tool.finish();
  EXPECT_EQ(run.code, 0) << run.err;
  for (const std::string& line :
       {std::string("TANDEM_AGENT=nats://127.0.0.1:4222"), std::string("TANDEM_AGENT_DRAIN_MS=300000"),
        std::string("TANDEM_AGENT_NODE=n1"), std::string("TANDEM_AGENT_SLOTS=3"),
        std::string("TANDEM_CLUSTER_LEASE_MS=2000"), std::string("TANDEM_CLUSTER_POOL=p"),
        "TANDEM_CLUSTER_TOKEN_FILE=" + token, std::string("--slots -- x y"), fmt::format("pid {}", pid)})
    EXPECT_THAT(run.out, HasSubstr(line + "\n"));
  EXPECT_THAT(run.out, Not(HasSubstr("TANDEM_CLUSTER_TOKEN=")));
}

TEST_F(ClusterToolTest, AgentWorksForARealServerAndLeavesAtSigterm) {
  const std::string secret = random_secret();
  NatsServer server({.token = secret});
  server.start();
  const std::string token = write("token", secret);
  RunningTool agent({"agent", "--url", url_of(server), "--token-file", token, "--slots", "2", "--", kProgram});
  const ToolRun client = run_tool({"run", "--url", url_of(server), "--token-file", token, "--", kProgram, "sum"});
  EXPECT_EQ(client.out, kSum) << client.err;
  expect_status({"--json", "--url", url_of(server), "--token-file", token},
                AllOf(HasSubstr("\"slots\": 2"), HasSubstr("\"running\": 0"), HasSubstr("\"tasks\": 0")));
  ::kill(agent.pid(), SIGTERM);
  EXPECT_EQ(agent.finish().code, 0);
}

TEST_F(ClusterToolTlsTest, CredentialsOfTheEnvironmentAreForAServerThatIsThere) {
  const std::string secret = random_secret();
  NatsServer server({.token = secret});
  server.start();
  ::setenv("TANDEM_CLUSTER_TOKEN", secret.c_str(), 1);
  expect_status({"--url", url_of(server)}, HasSubstr(url_of(server)));
  ASSERT_EQ(up({"--launcher", "local", "--url", url_of(server)}).code, 0);
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
  // A server that is started has its own.
  ::setenv("TANDEM_CLUSTER_CA", "/no/such/file", 1);
  const ToolRun started = up({"--launcher", "local", "--tls"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
  ::unsetenv("TANDEM_CLUSTER_TOKEN");
  ::unsetenv("TANDEM_CLUSTER_CA");
}

TEST_F(ClusterToolTest, AWrongTokenIsSaidInOneLine) {
  const std::string secret = random_secret();
  NatsServer server({.token = secret});
  server.start();
  const std::string token = write("token", "not it");
  const ToolRun run = run_tool({"agent", "--url", url_of(server), "--token-file", token, "--", kProgram});
  EXPECT_EQ(run.code, 127);
  EXPECT_THAT(run.err,
              AllOf(HasSubstr("this agent cannot work"), HasSubstr("refuses this program"), Not(HasSubstr("not it"))));
  const ToolRun status = run_tool({"cluster", "status", "--url", url_of(server), "--token-file", token});
  EXPECT_EQ(status.code, 1);
  EXPECT_THAT(status.err, HasSubstr("refuses this program"));
}

// --- tandem run

TEST_F(ClusterToolTest, RunRefusesBadInput) {
  expect_refusal({"run"}, "which program?");
  expect_refusal({"run", "--cluster", "--", "true"}, "the cluster default is not up: tandem cluster up");
  expect_refusal({"run", "--cluster", "other", "--", "true"}, "the cluster other is not up");
  expect_refusal({"run", "--cluster", "../x", "--", "true"}, "--name ../x");
  expect_refusal({"run", "--cluster", "nats://10.0.0.1", "--", "true"}, "--allow-unprotected-server");
  expect_refusal({"run", "--", "/no/such/program"}, "no such program");
}

TEST_F(ClusterToolTest, WithoutAClusterTheProgramHasItsOwn) {
  const ToolRun run = run_tool({"run", "--", kProgram, "sum"});
  EXPECT_EQ(run.out, kSum) << run.err;
}

// --- tandem cluster

TEST_F(ClusterToolTest, UpRefusesBadInput) {
  const std::string text = write("text", "no certificate");
  fake_ssh();
  expect_refusal({"cluster"}, "up, status or down?");
  expect_refusal({"cluster", "nonsense"}, "no such command: nonsense");
  expect_refusal({"cluster", "up"}, "which program?");
  expect_refusal({"cluster", "up", "--", "true"}, "which hosts?");
  expect_refusal({"cluster", "up", "--hosts", "a,", "--", "true"}, "cannot be a host: ''");
  expect_refusal({"cluster", "up", "--hosts", "-oProxyCommand=x", "--", "true"}, "-oProxyCommand");
  expect_refusal({"cluster", "up", "--hosts", "a;b", "--", "true"}, "a;b");
  expect_refusal({"cluster", "up", "--hosts", "a", "--launcher", "rsh", "--", "true"}, "--launcher rsh");
  expect_refusal({"cluster", "up", "--launcher", "srun", "--", "true"}, "inside of an allocation");
  expect_refusal({"cluster", "up", "--hosts", "a", "--agents", "2", "--", "true"}, "--agents");
  expect_refusal({"cluster", "up", "--launcher", "local", "--agents", "0", "--", "true"}, "--agents 0");
  expect_refusal({"cluster", "up", "--launcher", "local", "--", "/no/such/program"}, "no such program");
  expect_refusal({"cluster", "up", "--hosts", "a", "--bind", "0.0.0.0", "--", "true"}, "--bind 0.0.0.0");
  expect_refusal({"cluster", "up", "--hosts", "a", "--bind", "127.0.0.1", "--port", "x", "--", "true"}, "--port x");
  expect_refusal({"cluster", "up", "--hosts", "a", "--store", "/no/such", "--bind", "127.0.0.1", "--", "true"},
                 "/no/such");
  expect_refusal({"cluster", "up", "--hosts", "a", "--url", "nats://10.0.0.1", "--", "true"},
                 "--allow-unprotected-server");
  expect_refusal({"cluster", "up", "--hosts", "a", "--url", "nats://127.0.0.1", "--tls", "--", "true"}, "--tls");
  expect_refusal({"cluster", "up", "--hosts", "a", "--tls-ca", text, "--", "true"}, "--tls-cert");
  expect_refusal({"cluster", "up", "--hosts", "a", "--ssh", "no-such-ssh", "--", "true"}, "no-such-ssh");
  expect_refusal({"cluster", "status"}, "the cluster default is not up");
  expect_refusal({"cluster", "down"}, "the cluster default is not up");
  expect_refusal({"cluster", "down", "--name", "a/b"}, "--name a/b");
  EXPECT_FALSE(std::filesystem::exists(file("tandem"))) << "something was made";
}

TEST_F(ClusterToolTest, UpStartsAServerAndAgentsAndDownEndsThem) {
  const ToolRun started = up({"--launcher", "local", "--agents", "2", "--slots", "3"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_THAT(started.out, HasSubstr("cluster default is up: 2 agents, 6 slots"));
  EXPECT_EQ(std::filesystem::status(state() / "token").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(std::filesystem::status(state()).permissions(), std::filesystem::perms::owner_all);

  const ToolRun client = run_tool({"run", "--cluster", "--", kProgram, "sum"});
  EXPECT_EQ(client.out, kSum) << client.err;
  expect_status({}, AllOf(HasSubstr("default: 2 of 2 agents, by local"), HasSubstr("0 run on 6 slots")));
  expect_status({"--json"}, AllOf(HasSubstr("\"name\": \"default\""), HasSubstr("\"slots\": 6")));
  EXPECT_THAT(up({"--launcher", "local"}).err, HasSubstr("the cluster default is up already"));

  const std::string token = read_file(state() / "token").substr(0, 64);
  for (const pid_t pid : marked_processes("TANDEM_TEST_MARK=" + mark()))
    EXPECT_THAT(read_file(fmt::format("/proc/{}/cmdline", pid)), Not(HasSubstr(token)));
  for (const char* log : {"log", "server.log", "keeper.log", "cluster.json"})
    EXPECT_THAT(read_file(state() / log), Not(HasSubstr(token))) << log;

  const ToolRun down = run_tool({"cluster", "down"});
  EXPECT_EQ(down.code, 0) << down.err;
  EXPECT_EQ(down.out, "cluster default is down\n");
  EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "");
  EXPECT_FALSE(std::filesystem::exists(state()));
  expect_refusal({"cluster", "down"}, "not up");
}

TEST_F(ClusterToolTlsTest, AgentsAreStartedBySshWithoutSecretsOnItsCommandLine) {
  fake_ssh();
  const ToolRun started = up({"--hosts", "a,b,user@c", "--bind", "127.0.0.1", "--mutual-tls"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_THAT(started.out, AllOf(HasSubstr("3 agents"), HasSubstr("tls://127.0.0.1")));
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  const std::string words = read_file(file("words"));
  EXPECT_EQ(std::count(words.begin(), words.end(), '\n'), 3) << words;
  EXPECT_THAT(words, AllOf(HasSubstr("-- user@c sh\n"), Not(HasSubstr(read_file(state() / "token").substr(0, 64)))));
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

TEST_F(ClusterToolTest, WhatFailsOnAHostIsSaidAndTheRestIsTakenDown) {
  fake_ssh();
  const std::string text = write("text", "no program");
  const auto expect_failure = [&](const std::string& hosts, const std::vector<std::string>& program,
                                  const std::string& why) {
    const ToolRun run = up({"--bind", "127.0.0.1", "--hosts", hosts}, program);
    EXPECT_EQ(run.code, 1) << hosts;
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, HasSubstr("tandem: cluster up: " + why));
    EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "");
    EXPECT_FALSE(std::filesystem::exists(state()));
  };
  expect_failure("a,nohost", {kProgram}, "nohost: ssh: Could not resolve hostname nohost");
  expect_failure("down,a", {kProgram}, "down: ssh: connect to host down port 22: No route to host");
  expect_failure("a", {"/no/such/program"}, "a: /no/such/program: no such program in ");
  expect_failure("a", {"no-such-program"}, "a: no-such-program: no such program in the search path");
  expect_failure("a", {text}, "a: " + text + ": is no program that can be executed");
  expect_failure("a", {TANDEM_NO_CLUSTER}, "a: the environment variable TANDEM_AGENT asks this program to work");
}

TEST_F(ClusterToolTest, AServerThatIsThereIsUsedAndLeftAlone) {
  const std::string secret = random_secret();
  NatsServer server({.token = secret});
  server.start();
  const std::string token = write("token", secret), wrong = write("wrong", "not it");
  const ToolRun refused = up({"--launcher", "local", "--url", url_of(server), "--token-file", wrong});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("refuses this program"), Not(HasSubstr("not it"))));
  const ToolRun started = up({"--launcher", "local", "--url", url_of(server), "--token-file", token});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
  expect_status({"--url", url_of(server), "--token-file", token}, HasSubstr(url_of(server)));
}

TEST_F(ClusterToolTest, CtrlCWhileAHostDoesNotAnswerTakesAllDown) {
  fake_ssh();
  ASSERT_EQ(::mkfifo(file("asked").c_str(), 0600), 0);
  RunningTool tool({"cluster", "up", "--bind", "127.0.0.1", "--hosts", "a,silent", "--", kProgram});
  const detail::Fd asked(::open(file("asked").c_str(), O_RDONLY));  // Until it was.
  ::kill(tool.pid(), SIGINT);
  const ToolRun run = tool.finish();
  EXPECT_EQ(run.code, 130);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "");
  EXPECT_FALSE(std::filesystem::exists(state()));
}

TEST_F(ClusterToolTest, CtrlCAtAnyMomentLeavesNothing) {
  fake_ssh();
  // From before there is anything to after all of it is there; close together where much is made in little time.
  for (int after_ms = 0; after_ms <= 1000; after_ms += after_ms < 40 ? 2 : after_ms < 100 ? 20 : 100) {
    RunningTool tool({"cluster", "up", "--bind", "127.0.0.1", "--hosts", "a,b", "--", kProgram});
    const detail::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, tool.pid(), 0)));
    pollfd wait{pidfd.get(), POLLIN, 0};
    ::poll(&wait, 1, after_ms);
    ::kill(tool.pid(), SIGINT);
    const ToolRun run = tool.finish();
    if (run.code == 0) {
      EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
    } else {
      EXPECT_TRUE(run.code == 130 || run.code == -SIGINT) << run.code << run.err;
    }
    EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "") << after_ms;
    EXPECT_FALSE(std::filesystem::exists(state())) << after_ms;
  }
}

TEST_F(ClusterToolTest, UpThatCannotSayThatItIsUpTakesAllDown) {
  const detail::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const ToolRun run = run_tool({"cluster", "up", "--launcher", "local", "--", kProgram}, {.out_fd = full.get()});
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.err, "tandem: cannot write to standard output: No space left on device\n");
  EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "");
  EXPECT_FALSE(std::filesystem::exists(state()));
}

TEST_F(ClusterToolTest, AHostThatDoesNotAnswerInTimeIsNotWaitedFor) {
  fake_ssh();
  ASSERT_EQ(::mkfifo(file("asked").c_str(), 0600), 0);
  const detail::Fd asked(::open(file("asked").c_str(), O_RDWR));
  // The server has to be there in time, too, and may take longer than a second on a busy machine.
  for (const char* wait : {"1s", "10s", "60s"}) {
    const ToolRun run = up({"--bind", "127.0.0.1", "--hosts", "silent,silent", "--wait", wait});
    EXPECT_EQ(run.code, 1);
    EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "");
    const bool without_server = run.err.find("the server did not start in time") != std::string::npos;
    if (without_server && wait != std::string("60s")) continue;
    EXPECT_THAT(run.err, HasSubstr("0 of 2 agents were started in time (--wait)"));
    break;
  }
}

TEST_F(ClusterToolTest, UpThatIsKilledLeavesNothing) {
  fake_ssh();
  ASSERT_EQ(::mkfifo(file("asked").c_str(), 0600), 0);
  {
    const RunningTool tool({"cluster", "up", "--bind", "127.0.0.1", "--hosts", "a,silent", "--", kProgram});
    const detail::Fd asked(::open(file("asked").c_str(), O_RDONLY));
  }  // SIGKILL
  EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "");
  EXPECT_FALSE(std::filesystem::exists(state()));
}

pid_t keeper_of(const std::filesystem::path& state) {
  const std::string text = read_file(state / "cluster.json");
  const std::string name = "\"pid\": ";
  const std::size_t at = text.find(name);
  return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + name.size());
}

TEST_F(ClusterToolTest, AKilledKeeperLeavesNoProcessAndDownRemovesItsFiles) {
  ASSERT_EQ(up({"--launcher", "local", "--agents", "2", "--drain", "100ms"}).code, 0);
  ASSERT_EQ(::kill(keeper_of(state()), SIGKILL), 0);
  EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "");
  expect_refusal({"cluster", "status"}, "its keeper was killed");
  EXPECT_THAT(run_tool({"cluster", "down"}).out, HasSubstr("its files are removed"));
  EXPECT_FALSE(std::filesystem::exists(state()));
}

TEST_F(ClusterToolTest, DownNowGivesBackWhatRuns) {
  ASSERT_EQ(::mkfifo(file("runs").c_str(), 0600), 0);
  ASSERT_EQ(up({"--launcher", "local", "--drain", "1h"}).code, 0);
  RunningTool client({"run", "--cluster", "--", kProgram, "hold", file("runs")});
  const detail::Fd runs(::open(file("runs").c_str(), O_RDONLY));  // Until the task runs.
  expect_status({"--json"}, HasSubstr("\"running\": 1"));
  EXPECT_EQ(run_tool({"cluster", "down", "--now"}).code, 0);
  ::kill(client.pid(), SIGKILL);
  static_cast<void>(client.finish());
}

TEST_F(ClusterToolTest, AnAgentThatDiesIsStartedAgain) {
  ASSERT_EQ(up({"--launcher", "local"}).code, 0);
  const std::vector<pid_t> agents = agents_of("TANDEM_TEST_MARK=" + mark());  // Other tests have some too.
  ASSERT_EQ(agents.size(), 1u);
  ASSERT_EQ(::kill(agents[0], SIGKILL), 0);
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

// Of a process of this machine.
void wait_for_end(pid_t pid) {
  const detail::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd wait{pidfd.get(), POLLIN, 0};
  detail::retry_on_signal([&] { return ::poll(&wait, 1, -1); });
}

/// Waits until the text stands in a file that others append to. False if there is no file, or no more, or if nothing is
/// appended for a minute.
bool wait_for_text(const std::filesystem::path& file, const std::string& text) {
  const detail::Fd watch(::inotify_init1(IN_CLOEXEC));
  if (::inotify_add_watch(watch.get(), file.c_str(), IN_MODIFY | IN_DELETE_SELF | IN_ATTRIB) < 0) return false;
  while (read_file(file).find(text) == std::string::npos) {
    if (!std::filesystem::exists(file)) return false;
    pollfd wait{watch.get(), POLLIN, 0};
    if (detail::retry_on_signal([&] { return ::poll(&wait, 1, 60'000); }) == 0) return false;
    std::array<char, 4096> events{};
    static_cast<void>(!::read(watch.get(), events.data(), events.size()));
  }
  return true;
}

/// The port of a server on 127.0.0.1, from the record of its cluster.
std::uint16_t port_of(const std::filesystem::path& state) {
  const std::string text = read_file(state / "cluster.json");
  std::smatch port;
  return std::regex_search(text, port, std::regex("://127\\.0\\.0\\.1:([0-9]+)\""))
             ? static_cast<std::uint16_t>(std::stoi(port.str(1)))
             : std::uint16_t{0};
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

TEST_F(ClusterToolTest, AServerWhosePortIsTakenForAMomentIsStartedAgain) {
  ASSERT_EQ(up({"--launcher", "local"}).code, 0);
  pid_t server = -1;
  for (const pid_t pid : marked_processes("TANDEM_TEST_MARK=" + mark()))
    if (read_file(fmt::format("/proc/{}/comm", pid)) == "nats-server\n") server = pid;
  ASSERT_GT(server, 0);
  const pid_t keeper = keeper_of(state());
  ASSERT_EQ(::kill(keeper, SIGSTOP), 0);  // It would be faster.
  ::kill(server, SIGKILL);
  wait_for_end(server);
  {
    const detail::Fd other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(other.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in address = loopback(port_of(state()));
    const bool taken = ::bind(other.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                       ::listen(other.get(), 1) == 0;
    ::kill(keeper, SIGCONT);
    ASSERT_TRUE(taken);
    ASSERT_TRUE(wait_for_text(state() / "log", "address already in use")) << "the cluster is taken down";
  }
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

TEST_F(ClusterToolTest, APortThatIsTakenIsSaidAtOnce) {
  const detail::Fd other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(other.get(), 1), 0);
  ASSERT_EQ(::getsockname(other.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const ToolRun run = up({"--launcher", "local", "--wait", "1h", "--port", std::to_string(ntohs(address.sin_port))});
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.err,
              AllOf(HasSubstr("nats-server does not start on 127.0.0.1"), HasSubstr("address already in use")));
  EXPECT_FALSE(std::filesystem::exists(state()));
}

TEST_F(ClusterToolTest, AnAgentThatCannotBeStartedAgainYetIsStartedLater) {
  if (kSanitized) GTEST_SKIP() << "the keeper's sanitizer needs descriptors itself";
  ASSERT_EQ(up({"--launcher", "local"}).code, 0);
  const pid_t keeper = keeper_of(state());
  // All descriptors below have a use: there is no room for the pipes of a command.
  rlimit usual{};
  ASSERT_EQ(::prlimit(keeper, RLIMIT_NOFILE, nullptr, &usual), 0);
  const rlimit few{4, usual.rlim_max};
  ASSERT_EQ(::prlimit(keeper, RLIMIT_NOFILE, &few, nullptr), 0);
  const std::vector<pid_t> agents = agents_of("TANDEM_TEST_MARK=" + mark());
  ASSERT_EQ(agents.size(), 1u);
  ASSERT_EQ(::kill(agents[0], SIGKILL), 0);
  ASSERT_TRUE(wait_for_text(state() / "log", "cannot make a pipe: Too many open files")) << "the cluster is taken down";
  ASSERT_EQ(::prlimit(keeper, RLIMIT_NOFILE, &usual, nullptr), 0);
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

/// The shell by which a keeper of this machine runs its one agent.
pid_t shell_of(pid_t keeper) {
  std::istringstream children(read_file(fmt::format("/proc/{0}/task/{0}/children", keeper)));
  for (pid_t pid = -1; children >> pid;)
    if (read_file(fmt::format("/proc/{}/comm", pid)) == "sh\n") return pid;
  return -1;
}

TEST_F(ClusterToolTest, AnAgentThatDiesBeforeTheKeeperIsOnItsOwnIsStartedAgain) {
  RunningTool tool({"cluster", "up", "--launcher", "local", "--", kProgram});
  while (!wait_for_text(state() / "log", "started as")) std::this_thread::yield();  // Until there is a log.
  const pid_t keeper = keeper_of(state());
  wait_until_asleep(keeper);
  ASSERT_EQ(::kill(keeper, SIGSTOP), 0);
  EXPECT_EQ(tool.finish().code, 0);
  const pid_t shell = shell_of(keeper);
  ASSERT_GT(shell, 0);
  ::kill(-shell, SIGKILL);
  wait_for_end(shell);
  ::kill(keeper, SIGCONT);
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

TEST_F(ClusterToolTest, AnAgentWhoseShellWasEndedByASignalWithoutANameIsStartedAgain) {
  ASSERT_EQ(up({"--launcher", "local"}).code, 0);
  const pid_t shell = shell_of(keeper_of(state()));
  ASSERT_GT(shell, 0);
  ASSERT_EQ(::kill(-shell, SIGRTMIN), 0);
  ASSERT_TRUE(wait_for_text(state() / "log", fmt::format("it was ended by signal {}", SIGRTMIN)));
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

TEST_F(ClusterToolTest, UpRefusesWhatIsNoUtf8AndLeavesNoChild) {
  expect_refusal({"cluster", "up", "--launcher", "local", "--", kProgram, "a\xff"}, "a\\xff: is no UTF-8");
  const std::filesystem::path before = std::filesystem::current_path(), bad = file("b\xff");
  std::filesystem::create_directory(bad);
  std::filesystem::current_path(bad);
  expect_refusal({"cluster", "up", "--launcher", "local", "--", kProgram}, "b\\xff: is no UTF-8");
  std::filesystem::current_path(before);
  EXPECT_FALSE(std::filesystem::exists(file("tandem"))) << "something was made";
  // A secret is not shown.
  const std::string token = write("token", mark() + "\xff\n");
  const std::vector<std::string> with_token = {
      "cluster", "up", "--launcher", "local", "--url", "nats://127.0.0.1:1", "--token-file", token, "--", kProgram};
  expect_refusal(with_token, "tandem: TANDEM_CLUSTER_TOKEN: is no UTF-8");
  EXPECT_THAT(run_tool(with_token).err, Not(HasSubstr(mark())));
  EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark()), "");
}

// --- other launchers

// Both hand SIGUSR1 on.
constexpr const char* kRunsOnHosts =
    "i=0; pids=''\nwhile [ $i -lt $n ]; do \"$@\" & pids=\"$pids $!\"; i=$((i+1)); done\n"
    "trap 'kill -USR1 $pids' USR1\ntrap 'kill -TERM $pids' TERM\n"
    "for p in $pids; do while kill -0 $p 2>/dev/null; do wait $p; done; done\n";

TEST_F(ClusterToolTest, AgentsAreStartedBySrunInAnAllocation) {
  make_program(
      "srun",
      fmt::format("echo \"$*\" >> {}/words\n"
                  "while [ \"$1\" != sh ]; do case $1 in --ntasks=*) n=${{1#--ntasks=}} ;; esac; shift; done\n{}",
                  file("").string(), kRunsOnHosts));
  ::setenv("SLURM_JOB_ID", "7", 1);
  ::setenv("SLURM_JOB_NUM_NODES", "2", 1);
  const ToolRun started = up({"--launcher", "srun", "--bind", "127.0.0.1"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_THAT(started.out, HasSubstr("2 agents"));
  EXPECT_THAT(read_file(file("words")),
              AllOf(HasSubstr("--no-kill"), Not(HasSubstr(read_file(state() / "token").substr(0, 64)))));
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

TEST_F(ClusterToolTest, AgentsAreStartedByMpirun) {
  make_program("mpirun", fmt::format("echo \"$*\" >> {}/words\nn=2\nwhile [ \"$1\" != sh ]; do shift; done\n{}",
                                     file("").string(), kRunsOnHosts));
  const ToolRun started = up({"--launcher", "mpirun", "--hosts", "a,b", "--bind", "127.0.0.1"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_THAT(read_file(file("words")), AllOf(HasSubstr("--host a,b"), HasSubstr("-x TANDEM_CLUSTER_TOKEN"),
                                              Not(HasSubstr(read_file(state() / "token").substr(0, 64)))));
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

/// A script that has the variables of every agent as a host's own, and one that notes them and is the program then.
std::string set_all_variables() {
  std::string script;
  for (const auto& [name, unused] : detail::AgentEnvironment{}.variables()) {
    static_cast<void>(unused);
    script += "export " + name + "=of-the-host\n";
  }
  return script;
}
std::string note_variables(const std::filesystem::path& file) {
  return fmt::format("env > {}\nexec {} \"$@\"\n", file.string(), kProgram);
}

TEST_F(ClusterToolTest, WhatAHostItselfSaysOfAgentsIsNotForThoseOfACluster) {
  make_program("ssh", set_all_variables() + "while [ \"$1\" != -- ]; do shift; done; shift; shift; exec \"$@\"\n");
  make_program("noting", note_variables(file("noted")));
  const ToolRun started = up({"--hosts", "a", "--bind", "127.0.0.1"}, {"noting"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_THAT(read_file(file("noted")), AllOf(HasSubstr("TANDEM_AGENT=nats"), Not(HasSubstr("=of-the-host"))));
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

TEST_F(ClusterToolTest, WhatAHostOfMpirunItselfSaysOfAgentsIsNotForThoseOfACluster) {
  // What -x names is as it was where mpirun was started.
  make_program("mpirun",
               fmt::format("words=''\nwhile [ \"$1\" != sh ]; do [ \"$1\" = -x ] && words=\"$words $2\"; shift; done\n"
                           "for word in $words; do eval \"kept_$word=\\$$word\"; done\n{}"
                           "for word in $words; do eval \"export $word=\\\"\\$kept_$word\\\"\"; done\nn=1\n{}",
                           set_all_variables(), kRunsOnHosts));
  make_program("noting", note_variables(file("noted")));
  const ToolRun started = up({"--launcher", "mpirun", "--hosts", "a", "--bind", "127.0.0.1"}, {"noting"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_THAT(read_file(file("noted")), AllOf(HasSubstr("TANDEM_AGENT=nats"), Not(HasSubstr("=of-the-host"))));
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

/// Servers of ssh on addresses of loopback, which take the user that the test runs as. Owner.
class SshHosts {
 public:
  SshHosts(const std::filesystem::path& folder, const std::string& mark, int count) {
    std::filesystem::create_directories("/run/sshd");  // As root, sshd insists on it.
    run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"});
    config_ = folder / "ssh_config";
    std::ofstream client(config_);
    for (int i = 1; i <= count; ++i) {
      const std::string address = random_loopback();
      const std::filesystem::path file = folder / fmt::format("sshd{}", i);
      std::ofstream(file) << fmt::format(
          "ListenAddress {}:2222\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n"
          "PasswordAuthentication no\nSetEnv TANDEM_TEST_MARK={}\n",
          address, (folder / "key").string(), (folder / "key.pub").string(), mark);
      start({"/usr/sbin/sshd", "-D", "-e", "-f", file}, folder / fmt::format("sshd{}.log", i));
      client << fmt::format("Host h{}\n  HostName {}\n", i, address);
    }
    client << fmt::format(
        "Host *\n  Port 2222\n  IdentityFile {}\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
        "  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n  ConnectionAttempts 20\n",
        (folder / "key").string());
  }
  ~SshHosts() {
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGTERM);
      ::waitpid(pid, nullptr, 0);
    }
  }
  SshHosts(const SshHosts&) = delete;
  SshHosts& operator=(const SshHosts&) = delete;
  std::string command() const { return "ssh -F " + config_.string(); }

 private:
  static pid_t fork_to(const std::vector<std::string>& words, const std::string& log) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  static void run(const std::vector<std::string>& words) {
    int status = 0;
    ::waitpid(fork_to(words, "/dev/null"), &status, 0);
    ASSERT_EQ(status, 0) << words[0] << ": install what packages.txt names";
  }
  void start(const std::vector<std::string>& words, const std::string& log) { pids_.push_back(fork_to(words, log)); }

  std::filesystem::path config_;
  std::vector<pid_t> pids_;
};

TEST_F(ClusterToolTlsTest, ThreeHostsByRealSsh) {
  ASSERT_EQ(::access("/usr/sbin/sshd", X_OK), 0) << "there is no sshd: install what packages.txt names";
  const SshHosts hosts(file(""), mark(), 3);
  const ToolRun started = up({"--hosts", "h1,h2,h3", "--ssh", hosts.command(), "--bind", "127.0.0.1", "--tls"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_THAT(started.out, HasSubstr("3 agents"));
  EXPECT_EQ(run_tool({"run", "--cluster", "--", kProgram, "sum"}).out, kSum);
  expect_status({}, HasSubstr("tls://127.0.0.1:"));
  EXPECT_EQ(agents_of("TANDEM_TEST_MARK=" + mark()).size(), 3u);
  const ToolRun missing =
      up({"--name", "other", "--hosts", "h1", "--ssh", hosts.command(), "--bind", "127.0.0.1"}, {"./missing"});
  EXPECT_THAT(missing.err, HasSubstr("h1: ./missing: no such program in "));
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
  EXPECT_EQ(wait_for_none("TANDEM_TEST_MARK=" + mark(), kProgram), "");
}

TEST_F(ClusterToolTlsTest, AHandshakeMayTakeLongerThanTheServersUsualTwoSeconds) {
  ASSERT_EQ(up({"--launcher", "local", "--tls"}).code, 0);
  const detail::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port_of(state()));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  // The server speaks first, and then waits.
  for (char c = 0; c != '\n';) ASSERT_EQ(::read(client.get(), &c, 1), 1);
  pollfd wait{client.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&wait, 1, 3500), 0) << "the server has cut the connection";
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

// --- tandem compare

TEST_F(ClusterToolTest, CompareMeasuresALocalCluster) {
  const ToolRun run = run_tool({"compare", "sum", "--to", "1000000", "--runs", "1", "--where", "serial,cluster"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("\ncluster "), HasSubstr("499999500000"), HasSubstr("agree     yes")));
  expect_refusal({"compare", "sum", "--to", "5", "--cluster", "default"}, "--cluster: only with --where");
  expect_refusal({"compare", "sum", "--to", "5", "--where", "cluster", "--cluster", "default"}, "is not up");
}

TEST_F(ClusterToolTest, CompareMeasuresAClusterWhoseAgentsAreTheTool) {
  const std::string tool = built_file("cli/tandem");
  ASSERT_EQ(up({"--launcher", "local", "--agents", "2", "--slots", "2"}, {tool}).code, 0);
  const ToolRun run = run_tool({"compare", "primes", "--to", "100000", "--runs", "1", "--json", "--where",
                                "serial,cluster", "--cluster", "default"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("\"where\": \"cluster\""), HasSubstr("9592"), HasSubstr("\"agree\": true")));
  EXPECT_EQ(run_tool({"cluster", "down"}).code, 0);
}

}  // namespace
}  // namespace tandem::testing
