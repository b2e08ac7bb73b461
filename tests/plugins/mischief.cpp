// A plugin that does what plugins should not: mischief.so WHAT [FIFO].
#include <tandem/plugin.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Mischief {
  std::string what;
  std::string fifo;
  pid_t first_process = 0;

  bool in_worker_process() const { return ::getpid() != first_process; }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(what, fifo, first_process);
  }
};

/// Tells the test through the pipe which process is here, and stays for ever.
void stay(const std::string& fifo) {
  const int fd = ::open(fifo.c_str(), O_WRONLY | O_CLOEXEC);
  const std::string line = std::to_string(::getpid()) + "\n";
  static_cast<void>(::write(fd, line.data(), line.size()));
  ::close(fd);
  for (;;) ::pause();
}

std::string do_mischief(const Mischief& mischief) {
  const std::string& what = mischief.what;
  if (what == "differ") return std::to_string(::getpid());
  if (what == "lines") return "one\ntwo\x1b[2J";
  if (what == "throw") throw std::runtime_error("the part\nis in a bad mood");
  if (what == "crash" && mischief.in_worker_process()) ::raise(SIGSEGV);
  if (what == "die" && mischief.in_worker_process()) ::raise(SIGKILL);
  if (what == "stay-in-worker" && mischief.in_worker_process()) stay(mischief.fifo);
  if (what == "stay-anywhere") stay(mischief.fifo);
  return "harmless";
}

}  // namespace

tandem::Workload tandem::plugin(const std::vector<std::string>& arguments) {
  if (arguments.empty()) throw std::invalid_argument("say what mischief to do");
  const Mischief mischief{arguments.front(), arguments.size() > 1 ? arguments[1] : std::string(), ::getpid()};
  return tandem::workload(
      "mischief", [mischief](std::size_t workers) { return std::vector<Mischief>(workers, mischief); }, do_mischief,
      [](const std::vector<std::string>& results) { return results.front(); });
}
