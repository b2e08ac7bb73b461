#include "cluster_arrival.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "output.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Between looks whether an agent has failed while others are waited for.
constexpr milliseconds kLook{100};

}  // namespace

Arrival::Arrival(StartedKeeper& keeper, const KeeperOrder& order, ClusterOptions options, Clock::time_point until)
    : keeper_(keeper), order_(order), options_(std::move(options)), until_(until) {}

void Arrival::wait() {
  while (url_.empty()) {
    const std::optional<KeeperNews> news = keeper_.hear(left());
    if (!news) throw std::runtime_error(late());
    take(*news);
  }
  while (started_.size() + failures_.size() < order_.record.nodes) {
    const std::optional<KeeperNews> news = keeper_.hear(left());
    if (!news && Clock::now() >= until_) throw std::runtime_error(late());
    if (news) take(*news);
  }
  check();
  ClusterWatch watch(url_, options_);
  while (!all_here(watch)) {
    if (Clock::now() >= until_) throw std::runtime_error(late());
    static_cast<void>(watch.hear(kLook));
    while (const std::optional<KeeperNews> news = keeper_.hear(milliseconds(0))) take(*news);
    check();
  }
  if (error_is_terminal()) std::fputs("\r\x1b[K", stderr);
  for (const ClusterNode& node : watch.nodes())
    if (started_.contains(node.name)) nodes_.push_back(node);
}

milliseconds Arrival::left() const {
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(until_ - Clock::now()));
}

void Arrival::take(const KeeperNews& news) {
  if (news.kind == "server") url_ = news.text;
  if (news.kind == "started") started_.insert(news.text);
  if (news.kind == "failed") failures_.push_back(fmt::format("{}: {}", printable(news.where), printable(news.text)));
  if (news.kind == "broken") throw std::runtime_error(printable(news.text));
  show();
  const std::string& launcher = order_.record.launcher;
  if (news.kind == "failed" && launcher != "ssh" && launcher != "local") check();
}

void Arrival::show() const {
  if (!error_is_terminal()) return;
  std::fputs(
      fmt::format("\r\x1b[Kserver {}: {} of {} agents started", url_, started_.size(), order_.record.nodes).c_str(),
      stderr);
}

void Arrival::check() const {
  if (failures_.empty()) return;
  throw std::runtime_error(fmt::format("{} of {} agents did not come up; what was started is taken down",
                                       std::min(failures_.size(), order_.record.nodes), order_.record.nodes));
}

bool Arrival::all_here(const ClusterWatch& watch) const {
  std::set<std::string> heard;
  for (const ClusterNode& node : watch.nodes()) heard.insert(node.name);
  return std::all_of(started_.begin(), started_.end(), [&](const auto& name) { return heard.contains(name); });
}

std::string Arrival::late() const {
  if (url_.empty()) return "the server did not start in time";
  if (started_.size() < order_.record.nodes)
    return fmt::format("{} of {} agents were started in time (--wait); what was started is taken down", started_.size(),
                       order_.record.nodes);
  return "not all agents reached the server in time (--wait); what was started is taken down";
}

}  // namespace tandem::tool
