#include <tandem/crash_report.hpp>

#include <fmt/format.h>
#include <string.h>

namespace tandem {
namespace {

std::string signal_text(int signum) {
  const char* const name = sigabbrev_np(signum);
  const char* const description = sigdescr_np(signum);
  if (name == nullptr) return fmt::format("signal {}", signum);
  return fmt::format("SIG{} ({})", name, description != nullptr ? description : "?");
}

void append_indented(std::string& text, const std::string& lines, std::string_view indent) {
  for (std::size_t begin = 0; begin < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size());
    text += fmt::format("\n{}{}", indent, lines.substr(begin, end - begin));
    begin = end + 1;
  }
}

}  // namespace

std::string ExitStatus::to_string() const {
  return signal_ != 0 ? "killed by " + signal_text(signal_) : fmt::format("exit code {}", code_);
}

std::string CrashReport::to_string() const {
  std::string text = fmt::format("process {} (pid {}): ", name, pid);
  text += signal != 0 ? ExitStatus::killed(signal).to_string() : ExitStatus::exited(exit_code).to_string();
  if (probably_out_of_memory) text += ", probably out of memory";
  if (!exception_type.empty()) {
    text += "\n  uncaught " + exception_type;
    if (!exception_text.empty()) text += ": " + exception_text;
  }
  if (!stack.empty()) {
    text += "\n  stack:";
    append_indented(text, stack, "    ");
  }
  if (!stderr_tail.empty()) {
    text += "\n  last lines of standard error:";
    for (const std::string& line : stderr_tail) text += "\n    | " + line;
  }
  text += fmt::format("\n  CPU time {:.3f} s, peak memory {:.1f} MiB", std::chrono::duration<double>(cpu_time).count(),
                      static_cast<double>(peak_memory_bytes) / (1 << 20));
  return text;
}

}  // namespace tandem
