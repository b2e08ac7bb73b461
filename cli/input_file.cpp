#include "input_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <tandem/gil.hpp>

#include "bad_input.hpp"
#include "text.hpp"

namespace tandem::tool {
namespace {

// Large enough that system calls do not count, small enough to stay in a core's second-level cache and to pass a
// checkpoint every millisecond.
constexpr std::size_t kBlockBytes = 128 * 1024;

/// A file that is open for reading. Owner.
class OpenFile {
 public:
  /// O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
  explicit OpenFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

ssize_t read_at(int fd, char* to, std::size_t size, std::uint64_t offset) {
  for (;;) {
    const ssize_t got = ::pread(fd, to, size, static_cast<off_t>(offset));
    if (got >= 0 || errno != EINTR) return got;
  }
}

InputFile check_file(const std::string& name) {
  if (name.find('\0') != std::string::npos || name.empty()) throw BadInput("a file's name is empty");
  const OpenFile file(name);
  if (file.get() < 0) throw BadInput(fmt::format("{}: cannot be read: {}", printable(name), std::strerror(errno)));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0)
    throw BadInput(fmt::format("{}: cannot be read: {}", printable(name), std::strerror(errno)));
  if (S_ISDIR(status.st_mode)) throw BadInput(fmt::format("{}: is a directory", printable(name)));
  if (!S_ISREG(status.st_mode))
    throw BadInput(fmt::format("{}: is not a regular file: it cannot be read again for each run", printable(name)));
  char byte = 0;
  if (read_at(file.get(), &byte, 1, 0) < 0)
    throw BadInput(fmt::format("{}: cannot be read: {}", printable(name), std::strerror(errno)));
  return {name, std::filesystem::absolute(name).string(), static_cast<std::uint64_t>(status.st_size)};
}

}  // namespace

std::vector<InputFile> check_files(const std::vector<std::string>& names) {
  std::vector<InputFile> files;
  std::uint64_t total_bytes = 0;
  for (const std::string& name : names) {
    files.push_back(check_file(name));
    total_bytes += files.back().size_bytes;
  }
  if (total_bytes == 0 && files.size() == 1) throw BadInput(fmt::format("{}: is empty", printable(names.front())));
  if (total_bytes == 0) throw BadInput(fmt::format("{}: all {} files are empty", join_names(names), names.size()));
  return files;
}

void read_blocks(const InputFile& input, std::uint64_t begin, std::uint64_t end,
                 const std::function<bool(std::span<const char> block)>& process) {
  const OpenFile file(input.path);
  if (file.get() < 0)
    throw std::runtime_error(fmt::format("{}: cannot be read: {}", printable(input.name), std::strerror(errno)));
  std::vector<char> buffer(std::min<std::uint64_t>(kBlockBytes, end - begin));
  while (begin < end) {
    const ssize_t got = read_at(file.get(), buffer.data(), std::min<std::uint64_t>(buffer.size(), end - begin), begin);
    if (got < 0)
      throw std::runtime_error(fmt::format("{}: cannot be read: {}", printable(input.name), std::strerror(errno)));
    if (got == 0) throw std::runtime_error(fmt::format("{}: became shorter while it was read", printable(input.name)));
    if (!process({buffer.data(), static_cast<std::size_t>(got)})) return;
    begin += static_cast<std::uint64_t>(got);
    checkpoint();
  }
}

std::string join_names(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i) {
    if (i != 0) text += ' ';
    text += printable(names[i]);
  }
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

}  // namespace tandem::tool
