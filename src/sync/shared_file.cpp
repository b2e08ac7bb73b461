#include <tandem/shared_file.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "core/system.hpp"

namespace tandem::detail {
namespace {

// The most that the kernel writes or reads at once is a little less.
constexpr std::size_t kMostBytes = std::size_t{1} << 30;

std::string host_name() {
  std::array<char, 256> name{};
  static_cast<void>(::gethostname(name.data(), name.size() - 1));
  return name.data();
}

void write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t size = retry_on_signal([&] { return ::write(fd, bytes.data(), std::min(bytes.size(), kMostBytes)); });
    if (size < 0) throw_errno("cannot write the shared file " + path);
    bytes = bytes.subspan(static_cast<std::size_t>(size));
  }
}

std::vector<std::byte> read_file(const std::string& path, std::uint64_t size_bytes) {
  const std::string what = "the shared file " + path + " on the machine " + host_name();
  const Fd fd = open_file(path, O_RDONLY);
  if (!fd) throw_errno("cannot open " + what);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) throw_errno("cannot look at " + what);
  if (static_cast<std::uint64_t>(status.st_size) != size_bytes)
    throw WireError(what + " has " + std::to_string(status.st_size) + " bytes and should have " +
                    std::to_string(size_bytes));
  std::vector<std::byte> bytes(size_bytes);
  for (std::span<std::byte> rest = bytes; !rest.empty();) {
    const ssize_t size =
        retry_on_signal([&] { return ::read(fd.get(), rest.data(), std::min(rest.size(), kMostBytes)); });
    if (size < 0) throw_errno("cannot read " + what);
    if (size == 0) throw WireError(what + " has become shorter");
    rest = rest.subspan(static_cast<std::size_t>(size));
  }
  return bytes;
}

}  // namespace

SharedFileState::SharedFileState(const std::filesystem::path& directory, const Encoder& content)
    : bytes_(content.bytes().size()) {
  // On another machine a relative path would lead elsewhere.
  std::string path = (std::filesystem::absolute(directory) / "tandem-file-XXXXXX").string();
  const Fd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) throw_errno("cannot make a shared file in " + directory.string());
  try {
    write_all(fd.get(), content.bytes(), path);
    // What a network file system may still have here alone, and what it tells of it only now.
    if (::fsync(fd.get()) != 0) throw_errno("cannot write the shared file " + path);
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
  path_ = std::move(path);
  owner_ = ::getpid();
}

SharedFileState::~SharedFileState() {
  if (owner_ == ::getpid()) ::unlink(path_.c_str());
}

const void* SharedFileState::value(const std::function<std::shared_ptr<const void>(Decoder&)>& decode) {
  const std::lock_guard guard(mutex_);
  if (value_ == nullptr) {
    const std::vector<std::byte> bytes = read_file(path_, bytes_);
    Decoder decoder(bytes, {}, Decoder::Writer::Stranger);
    value_ = decode(decoder);
  }
  return value_.get();
}

}  // namespace tandem::detail
