#include "cluster_keeper_reports.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

namespace tandem::tool {
namespace {

// The log begins anew then, and the one before is kept.
constexpr std::uint64_t kMostLog_bytes = 16u << 20;

}  // namespace

KeeperReports::KeeperReports(const std::string& folder) : log_file_(folder + "/log") {
  open_log();
}

void KeeperReports::open_log() {
  log_.reset(::open(log_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
}

void KeeperReports::log(const std::string& text) {
  if (!log_) return;
  const std::string line = fmt::format("{} {}\n", std::time(nullptr), text);
  logged_bytes_ += line.size();
  if (logged_bytes_ > kMostLog_bytes) {
    ::rename(log_file_.c_str(), (log_file_ + ".before").c_str());
    open_log();
    logged_bytes_ = 0;
  }
  write_all(log_.get(), line);
}

void KeeperReports::tell(const KeeperNews& news) const {
  if (attached_) write_all(STDOUT_FILENO, to_line(news));
}

}  // namespace tandem::tool
