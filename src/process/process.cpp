#include <tandem/process.hpp>

#include <signal.h>

#include <utility>

#include "process/child.hpp"
#include "process/children.hpp"

namespace tandem {

Process::Process(std::unique_ptr<detail::ProcessBody> body, ProcessOptions options)
    : child_(std::make_shared<detail::Child>(std::move(body), std::move(options))) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    end();
    child_ = std::move(other.child_);
  }
  return *this;
}

Process::~Process() {
  end();
}

void Process::end() noexcept {
  if (child_) child_->abandon();
}

detail::Child& Process::child() const {
  if (!child_) throw StateError("this Process was moved from");
  return *child_;
}

void Process::start() {
  child().start();
}
bool Process::wait(const detail::Deadline& deadline) const {
  return child().wait(deadline);
}
bool Process::request_stop() {
  return child().request_stop();
}
std::stop_token Process::stop_token() const {
  return child().stop_token();
}

void Process::terminate() {
  child().signal(SIGTERM);
}
void Process::kill() {
  child().signal(SIGKILL);
}
void Process::interrupt() {
  child().signal(SIGINT);
}
void Process::kill_tree() {
  child().kill_tree();
}
void Process::close() {
  child().close();
}

bool Process::is_alive() const {
  return child().is_alive();
}
std::string Process::name() const {
  return child().name();
}
void Process::set_name(std::string name) {
  child().set_name(std::move(name));
}
bool Process::daemon() const {
  return child().daemon();
}
void Process::set_daemon(bool daemon) {
  child().set_daemon(daemon);
}
std::optional<std::uint64_t> Process::id() const {
  return child().id();
}
std::optional<pid_t> Process::pid() const {
  return child().pid();
}
StartMethod Process::start_method() const {
  return child().method();
}
int Process::sentinel() const {
  return child().sentinel();
}

std::optional<int> Process::exitcode() const {
  const std::optional<ExitStatus> status = child().status();
  return status ? std::optional(status->exitcode()) : std::nullopt;
}
std::optional<ExitStatus> Process::exit_status() const {
  return child().status();
}
std::optional<ProcessUsage> Process::usage() const {
  return child().usage();
}
std::optional<CrashReport> Process::crash_report() const {
  return child().crash_report();
}
ProcessInfo Process::info() const {
  return child().info();
}
std::string Process::to_string() const {
  return child().to_string();
}

std::vector<ProcessInfo> active_children() {
  std::vector<ProcessInfo> alive;
  for (const detail::ChildPtr& child : detail::Children::instance().all())
    if (auto info = child->info_if_running()) alive.push_back(*std::move(info));
  return alive;
}

}  // namespace tandem
