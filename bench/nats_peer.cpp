#include "nats_peer.hpp"

#include <fcntl.h>
#include <nats/nats.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <utility>

namespace tandem::bench {
namespace {

constexpr const char* kWorker = "TANDEM_BENCH_NATS_WORKER";
constexpr const char* kUrl = "TANDEM_BENCH_NATS_URL";
constexpr const char* kToken = "TANDEM_BENCH_NATS_TOKEN";
constexpr int kWorkers = 2;
constexpr std::int64_t kWaitMs = 1000;

void check(natsStatus status, const char* what) {
  if (status != NATS_OK) throw std::runtime_error(std::string(what) + ": " + natsStatus_GetText(status));
}

struct Free {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
  void operator()(natsConnection* connection) const { natsConnection_Destroy(connection); }
  void operator()(jsCtx* context) const { jsCtx_Destroy(context); }
  void operator()(natsSubscription* subscription) const { natsSubscription_Destroy(subscription); }
  void operator()(natsMsg* message) const { natsMsg_Destroy(message); }
};
template <class T>
using Owner = std::unique_ptr<T, Free>;

/// A connection, and JetStream by it.
struct Link {
  Link(const std::string& url, const std::string& token) {
    natsOptions* made = nullptr;
    check(natsOptions_Create(&made), "options");
    const Owner<natsOptions> options(made);
    check(natsOptions_SetURL(made, url.c_str()), "url");
    check(natsOptions_SetToken(made, token.c_str()), "token");
    check(natsOptions_SetSendAsap(made, true), "send asap");
    natsConnection* connected = nullptr;
    check(natsConnection_Connect(&connected, made), "connect");
    connection.reset(connected);
    jsCtx* context = nullptr;
    check(natsConnection_JetStream(&context, connected, nullptr), "JetStream");
    stream.reset(context);
  }
  Owner<natsConnection> connection;
  Owner<jsCtx> stream;
};

Owner<natsSubscription> pull(const Link& link, const char* subject, const char* name) {
  natsSubscription* made = nullptr;
  jsSubOptions options{};
  jsSubOptions_Init(&options);
  options.Config.MaxAckPending = 4096;
  check(js_PullSubscribe(&made, link.stream.get(), subject, name, nullptr, &options, nullptr), "pull");
  return Owner<natsSubscription>(made);
}

void make_stream(const Link& link, const char* name, const char* subject) {
  js_DeleteStream(link.stream.get(), name, nullptr, nullptr);
  jsStreamConfig config{};
  jsStreamConfig_Init(&config);
  const char* subjects[] = {subject};
  config.Name = name;
  config.Subjects = subjects;
  config.SubjectsLen = 1;
  config.Retention = js_WorkQueuePolicy;
  config.Storage = js_FileStorage;
  config.Replicas = 1;
  check(js_AddStream(nullptr, link.stream.get(), &config, nullptr, nullptr), "stream");
}

void acknowledge(const Link& link, natsMsg* message) {
  check(natsConnection_PublishString(link.connection.get(), natsMsg_GetReply(message), "+ACK"), "acknowledge");
}

std::vector<char> answer_to(const natsMsg* task) {
  const char* const bytes = natsMsg_GetData(task);
  std::vector<char> answer(bytes, bytes + natsMsg_GetDataLength(task));
  if (!answer.empty()) ++answer.front();
  return answer;
}

bool is_over(int lifeline) {
  pollfd wait{lifeline, POLLIN, 0};
  return ::poll(&wait, 1, 0) != 0;
}

void work_by_jetstream(const Link& link, int at_once, int lifeline) {
  const Owner<natsSubscription> tasks = pull(link, "bare.task", "workers");
  check(natsConnection_Flush(link.connection.get()), "flush");
  check(::write(STDOUT_FILENO, "r", 1) == 1 ? NATS_OK : NATS_IO_ERROR, "ready");
  while (!is_over(lifeline)) {
    natsMsgList got{};
    const natsStatus status = natsSubscription_Fetch(&got, tasks.get(), at_once, kWaitMs, nullptr);
    if (status == NATS_TIMEOUT) continue;
    check(status, "fetch");
    for (int i = 0; i < got.Count; ++i) {
      const std::vector<char> answer = answer_to(got.Msgs[i]);
      check(js_PublishAsync(link.stream.get(), "bare.result", answer.data(), static_cast<int>(answer.size()), nullptr),
            "result");
    }
    check(js_PublishAsyncComplete(link.stream.get(), nullptr), "results");
    for (int i = 0; i < got.Count; ++i) acknowledge(link, got.Msgs[i]);
    natsMsgList_Destroy(&got);
  }
}

void work_by_core(const Link& link, int lifeline) {
  natsSubscription* made = nullptr;
  check(natsConnection_QueueSubscribeSync(&made, link.connection.get(), "bare.core", "workers"), "subscribe");
  const Owner<natsSubscription> tasks(made);
  check(natsConnection_Flush(link.connection.get()), "flush");
  check(::write(STDOUT_FILENO, "r", 1) == 1 ? NATS_OK : NATS_IO_ERROR, "ready");
  while (!is_over(lifeline)) {
    natsMsg* task = nullptr;
    const natsStatus status = natsSubscription_NextMsg(&task, tasks.get(), kWaitMs);
    if (status == NATS_TIMEOUT) continue;
    check(status, "next");
    const Owner<natsMsg> owner(task);
    const std::vector<char> answer = answer_to(task);
    check(natsConnection_Publish(link.connection.get(), natsMsg_GetReply(task), answer.data(),
                                 static_cast<int>(answer.size())),
          "reply");
  }
}

}  // namespace

bool is_nats_worker() {
  return std::getenv(kWorker) != nullptr;
}

int run_nats_worker() {
  const Link link(std::getenv(kUrl), std::getenv(kToken));
  const int at_once = std::atoi(std::getenv(kWorker));
  if (at_once > 0) {
    work_by_jetstream(link, at_once, STDIN_FILENO);
  } else {
    work_by_core(link, STDIN_FILENO);
  }
  return 0;
}

struct NatsPeer::Client {
  Client(const std::string& url, const std::string& token, NatsWay by) : link(url, token), way(by) {
    if (way == NatsWay::JetStream) {
      make_stream(link, "bare_tasks", "bare.task");
      make_stream(link, "bare_results", "bare.result");
      results = pull(link, "bare.result", "client");
      // For the workers, which would make it at the same time.
      pull(link, "bare.task", "workers");
      return;
    }
    natsSubscription* made = nullptr;
    check(natsConnection_SubscribeSync(&made, link.connection.get(), "bare.replies"), "subscribe");
    results.reset(made);
    check(natsSubscription_SetPendingLimits(made, -1, -1), "limits");
  }
  void send(const std::vector<char>& task) const {
    const int size = static_cast<int>(task.size());
    check(way == NatsWay::JetStream
              ? js_PublishAsync(link.stream.get(), "bare.task", task.data(), size, nullptr)
              : natsConnection_PublishRequest(link.connection.get(), "bare.core", "bare.replies", task.data(), size),
          "task");
  }
  /// How many have come: one or more.
  int take(int most, const std::vector<char>& task) const {
    if (way == NatsWay::Core) {
      natsMsg* message = nullptr;
      check(natsSubscription_NextMsg(&message, results.get(), 10 * kWaitMs), "reply");
      look_at(*Owner<natsMsg>(message), task);
      return 1;
    }
    natsMsgList got{};
    check(natsSubscription_Fetch(&got, results.get(), most, 10 * kWaitMs, nullptr), "results");
    for (int i = 0; i < got.Count; ++i) {
      look_at(*got.Msgs[i], task);
      acknowledge(link, got.Msgs[i]);
    }
    const int count = got.Count;
    natsMsgList_Destroy(&got);
    return count;
  }
  static void look_at(const natsMsg& result, const std::vector<char>& task) {
    if (natsMsg_GetDataLength(&result) != static_cast<int>(task.size()) ||
        natsMsg_GetData(&result)[0] != task.front() + 1)
      throw std::runtime_error("a result is wrong");
  }

  const Link link;
  const NatsWay way;
  Owner<natsSubscription> results;
};

NatsPeer::NatsPeer(std::string url, std::string token, NatsWay way, int at_once)
    : client_(std::make_unique<Client>(url, token, way)) {
  std::vector<std::string> texts;
  for (char** variable = environ; *variable != nullptr; ++variable) texts.emplace_back(*variable);
  texts.push_back(std::string(kWorker) + "=" + std::to_string(way == NatsWay::JetStream ? at_once : 0));
  texts.push_back(std::string(kUrl) + "=" + url);
  texts.push_back(std::string(kToken) + "=" + token);
  std::vector<char*> environment;
  for (std::string& text : texts) environment.push_back(text.data());
  environment.push_back(nullptr);
  for (int worker = 0; worker < kWorkers; ++worker) {
    int life[2];
    int ready[2];
    if (::pipe2(life, O_CLOEXEC) != 0 || ::pipe2(ready, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, life[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, ready[1], STDOUT_FILENO);
    char name[] = "nats-worker";
    char* arguments[] = {name, nullptr};
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, arguments, environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(life[0]);
    ::close(ready[1]);
    if (error != 0) throw std::runtime_error("a worker beside cannot be started");
    workers_.push_back(pid);
    lifelines_.push_back(life[1]);
    char letter = 0;
    const bool came_up = ::read(ready[0], &letter, 1) == 1;
    ::close(ready[0]);
    if (!came_up) throw std::runtime_error("a worker beside did not come up");
  }
}

NatsPeer::~NatsPeer() {
  for (const int lifeline : lifelines_) ::close(lifeline);
  for (const pid_t pid : workers_) ::waitpid(pid, nullptr, 0);
}

void NatsPeer::run(int tasks, std::size_t bytes, int window) {
  const std::vector<char> task(bytes, 1);
  int sent = 0;
  for (int taken = 0; taken < tasks;) {
    for (; sent < tasks && sent - taken < window; ++sent) client_->send(task);
    taken += client_->take(std::max(1, std::min(window, sent - taken)), task);
  }
}

}  // namespace tandem::bench
