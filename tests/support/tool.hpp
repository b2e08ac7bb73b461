/// Runs the tool `tandem` as a user does, and keeps what it prints.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/system.hpp"

namespace tandem::testing {

/// How a run of the tool ended.
struct ToolRun {
  /// Its exit code, or minus the signal that killed it.
  int code = 0;
  std::string out;
  std::string err;
};

/// Where a file of this build is: "cli/tandem", "tests/plugins/mischief.so".
std::string built_file(const std::string& name);

/// Where a file of the source tree is: "examples/01_one_thread.cpp".
std::string source_file(const std::string& name);

/// Descriptors that take the place of the pipes that keep what the tool prints; a negative one is closed in the tool.
struct ToolStreams {
  std::optional<int> out_fd{};
  std::optional<int> err_fd{};
};

/// A run of the tool that may still go on. Owner: kills it in its destructor.
class RunningTool {
 public:
  /// Starts it as the leader of a process group of its own.
  explicit RunningTool(const std::vector<std::string>& arguments, const ToolStreams& streams = {});
  ~RunningTool();
  RunningTool(const RunningTool&) = delete;
  RunningTool& operator=(const RunningTool&) = delete;

  pid_t pid() const { return pid_; }
  /// Reads all that it prints and waits for its end.
  ToolRun finish();

 private:
  pid_t pid_ = -1;
  detail::Fd out_;
  detail::Fd err_;
};

/// Runs it from start to end.
ToolRun run_tool(const std::vector<std::string>& arguments, const ToolStreams& streams = {});

/// A file that is gone with this object. Owner.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace tandem::testing
