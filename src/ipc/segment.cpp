#include "ipc/segment.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include <tandem/error.hpp>

#include "core/kill_point.hpp"
#include "core/log.hpp"
#include "core/system.hpp"

namespace tandem::detail {
namespace {

constexpr char kFolder[] = "/dev/shm";
// Nothing else is swept, so nothing else must be called so.
constexpr std::string_view kPrefix = "tandem.memory.";
constexpr std::size_t kLongestName = NAME_MAX - kPrefix.size();
// Memory is reserved in pieces, so that a program which gets signals all the time comes forward nevertheless.
constexpr std::uint64_t kPieceBytes = std::uint64_t{64} << 20;

// Whatever else may be called so: a link is not followed, a pipe does not keep us waiting.
constexpr int kOpenFlags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

// The bytes that are locked; they need not exist. Whoever takes both takes the name's first.
// By all owners together, by each from before the name is there until it lets go; alone by who removes the name.
constexpr std::int64_t kOwnerByte = 0;
// By who removes a name, from looking what it stands for until it is gone, and by who becomes an owner.
constexpr std::int64_t kNameByte = 1;

std::string path_of(std::string_view name) {
  return fmt::format("{}/{}{}", kFolder, kPrefix, name);
}

// A name may hold anything but a slash and a NUL: for texts of one line.
std::string quoted(std::string_view name) {
  std::string text = "\"";
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      text += c;
  }
  return text += '"';
}

struct FileFacts {
  SegmentId id;
  std::uint64_t size_bytes = 0;
  uid_t user = 0;
  bool regular = false;

  bool is_ours() const { return regular && user == ::geteuid(); }
};

// Of a descriptor (`path` is empty) or a name. Empty if there is none.
std::optional<FileFacts> facts_of(int fd, const char* path) {
  struct statx found{};
  const int flags = AT_SYMLINK_NOFOLLOW | (*path == '\0' ? AT_EMPTY_PATH : 0);
  if (retry_on_signal([&] { return ::statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &found); }) != 0)
    return std::nullopt;
  FileFacts facts;
  facts.id.device = std::uint64_t{found.stx_dev_major} << 32 | found.stx_dev_minor;
  facts.id.inode = found.stx_ino;
  if ((found.stx_mask & STATX_BTIME) != 0)
    facts.id.born_ns = found.stx_btime.tv_sec * 1'000'000'000 + found.stx_btime.tv_nsec;
  facts.size_bytes = found.stx_size;
  facts.user = found.stx_uid;
  facts.regular = S_ISREG(found.stx_mode);
  return facts;
}

FileFacts facts_of(int fd) {
  const std::optional<FileFacts> facts = facts_of(fd, "");
  if (!facts) throw_errno("cannot look at a file of /dev/shm");
  return *facts;
}

bool stands_for(const std::string& path, const SegmentId& id) {
  const std::optional<FileFacts> facts = facts_of(AT_FDCWD, path.c_str());
  return facts && facts->id == id;
}

// With the name's byte locked nobody else takes this file's name away, and nothing is ever put over an existing name:
// so what stands there now is what is removed.
bool remove_locked_name(const std::string& path, const SegmentId& id) {
  TANDEM_KILL_POINT("segment.remove.locked");
  if (!stands_for(path, id)) return false;
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return false;  // By somebody's hand.
    throw_errno("cannot remove " + path);
  }
  TANDEM_KILL_POINT("segment.remove.removed");
  return true;
}

// A quick look, without taking anything: most of what a sweep meets is alive.
bool seems_owned(const std::string& path) {
  const Fd file = open_file(path, O_RDWR | kOpenFlags);
  return !file || is_locked(file.get(), kOwnerByte);
}

enum class Look { Removed, Gone, Kept };
enum class IfBusy { LeaveIt, Wait };

// Takes a name away if its owner is dead.
Look remove_leftover(const std::string& path, IfBusy if_busy) {
  LockFile file;
  if (!file.open(path, kOpenFlags)) return errno == ENOENT ? Look::Gone : Look::Kept;
  const FileFacts facts = facts_of(file.fd());
  if (!facts.is_ours()) return Look::Kept;
  if (if_busy == IfBusy::Wait)
    file.lock(kNameByte);
  else if (!file.try_lock(kNameByte))
    return Look::Kept;
  // Who has this byte now is an owner: others take it only with the name's byte.
  if (!file.try_lock(kOwnerByte)) return Look::Kept;
  TANDEM_KILL_POINT("segment.sweep.dead");
  return remove_locked_name(path, facts.id) ? Look::Removed : Look::Gone;
}

std::string describe_room(std::uint64_t& limit_bytes) {
  struct statvfs room{};
  if (::statvfs(kFolder, &room) != 0) return "its size is not known";
  limit_bytes = std::uint64_t{room.f_blocks} * room.f_frsize;
  return fmt::format("it holds {} bytes, of which {} are free", limit_bytes,
                     std::uint64_t{room.f_bavail} * room.f_frsize);
}

[[noreturn]] void throw_full(int error, const std::string& what, std::size_t size_bytes) {
  std::uint64_t limit_bytes = 0;
  const std::string room = describe_room(limit_bytes);
  throw_system_error(error, fmt::format("{} of {} bytes in {}: {}", what, size_bytes, kFolder, room));
}

// What can be known before anything is touched.
void check_size(const std::string& what, std::size_t size_bytes) {
  if (size_bytes == 0) throw std::invalid_argument(what + " of 0 bytes");
  if (size_bytes > static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()))
    throw std::invalid_argument(fmt::format("{} of {} bytes", what, static_cast<std::ptrdiff_t>(size_bytes)));
  rlimit files{};
  // Beyond it the kernel would not only refuse but send SIGXFSZ, which ends the program.
  if (::getrlimit(RLIMIT_FSIZE, &files) == 0 && files.rlim_cur != RLIM_INFINITY && size_bytes > files.rlim_cur)
    throw_system_error(EFBIG, fmt::format("{} of {} bytes: the limit on the size of files (RLIMIT_FSIZE) is {}", what,
                                          size_bytes, files.rlim_cur));
  std::uint64_t limit_bytes = 0;
  describe_room(limit_bytes);
  if (limit_bytes != 0 && size_bytes > limit_bytes) throw_full(ENOSPC, what, size_bytes);
}

// All of the memory, now: a page that is missing later would be a SIGBUS.
void reserve(int fd, std::size_t size_bytes, const std::string& what) {
  for (std::uint64_t from = 0; from < size_bytes; from += kPieceBytes) {
    const auto piece = static_cast<off_t>(std::min<std::uint64_t>(kPieceBytes, size_bytes - from));
    if (retry_on_signal([&] { return ::fallocate(fd, 0, static_cast<off_t>(from), piece); }) != 0)
      throw_full(errno, what, size_bytes);
  }
}

std::string what_is_created(const std::string& name) {
  return "cannot create shared memory" + (name.empty() ? "" : " " + quoted(name));
}

}  // namespace

void Segment::check_name(std::string_view name) {
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument(fmt::format("shared memory cannot be called {}: {}", quoted(name), why));
  };
  if (name.empty()) refuse("the name is empty");
  if (name.find('\0') != std::string_view::npos) refuse("the name has a NUL character");
  if (name.find('/') != std::string_view::npos) refuse("the name has a slash");
  if (name.size() > kLongestName) refuse(fmt::format("the name has {} bytes, more than {}", name.size(), kLongestName));
}

Segment::Segment(const std::string& what, int fd, std::size_t size_bytes) : id_(facts_of(fd).id) {
  void* const base = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) throw_errno(fmt::format("{}: cannot map its {} bytes", what, size_bytes));
  bytes_ = {static_cast<std::byte*>(base), size_bytes};
}

std::shared_ptr<Segment> Segment::make_nameless(const std::string& what, std::size_t size_bytes) {
  check_size(what, size_bytes);
  sweep();
  // A file without a name: killed anywhere before linkat(), it leaves nothing.
  const Fd file = open_file(kFolder, O_TMPFILE | O_RDWR, S_IRUSR | S_IWUSR);
  if (!file) {
    if (errno == ENOSPC) throw_full(errno, what, size_bytes);
    throw_errno(fmt::format("{} in {}", what, kFolder));
  }
  // Whatever the umask says: it is to be opened again.
  if (::fchmod(file.get(), S_IRUSR | S_IWUSR) != 0) throw_errno(what);
  TANDEM_KILL_POINT("segment.create.made");
  reserve(file.get(), size_bytes, what);
  TANDEM_KILL_POINT("segment.create.reserved");
  std::shared_ptr<Segment> made(new Segment(what, file.get(), size_bytes));
  // Opened anew: the mapping keeps its own description, and with it its locks, alive in forked processes too.
  if (!made->owner_lock_.open(fmt::format("/proc/self/fd/{}", file.get()), 0))
    throw_errno(what + ": cannot open it anew");
  // Nobody else knows the file.
  if (!made->owner_lock_.try_lock_shared(kOwnerByte)) throw_system_error(EAGAIN, what + ": it is locked already");
  TANDEM_KILL_POINT("segment.create.locked");
  return made;
}

// False if the name is taken. Kills before it leave nothing, kills behind it leave a name whose owner is dead.
bool Segment::publish(const std::string& name) {
  const std::string file = fmt::format("/proc/self/fd/{}", owner_lock_.fd()), path = path_of(name);
  if (::linkat(AT_FDCWD, file.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    if (errno == EEXIST) return false;
    throw_errno(fmt::format("{} as {}", what_is_created(name), path));
  }
  TANDEM_KILL_POINT("segment.create.published");
  name_ = name;
  log_line(LogLevel::Debug, "shared memory {} of {} bytes is created", quoted(name), bytes_.size());
  return true;
}

std::shared_ptr<Segment> Segment::create(const std::string& name, std::size_t size_bytes) {
  check_name(name);
  std::shared_ptr<Segment> made = make_nameless(what_is_created(name), size_bytes);
  while (!made->publish(name))
    if (remove_leftover(path_of(name), IfBusy::Wait) == Look::Kept)
      throw_system_error(EEXIST, what_is_created(name) + ": the name is taken");
  return made;
}

std::shared_ptr<Segment> Segment::create_with_free_name(const std::function<std::string()>& next_name,
                                                        std::size_t size_bytes) {
  std::shared_ptr<Segment> made = make_nameless(what_is_created(""), size_bytes);
  while (!made->publish(next_name())) {
  }
  return made;
}

std::shared_ptr<Segment> Segment::attach(const std::string& name, const std::optional<SegmentId>& expected) {
  check_name(name);
  sweep();
  const std::string what = "cannot attach shared memory " + quoted(name), path = path_of(name);
  remove_leftover(path, IfBusy::Wait);  // A sweep leaves what another is just about to remove.
  const Fd file = open_file(path, O_RDWR | kOpenFlags);
  TANDEM_KILL_POINT("segment.attach.opened");
  if (!file) {
    if (errno == ENOENT && expected) throw StaleHandle(what + ": it was removed since this handle was sent");
    throw_errno(errno == ENOENT ? what + ": nobody has it" : what);
  }
  const FileFacts facts = facts_of(file.get());
  if (expected && facts.id != *expected)
    throw StaleHandle(what + ": it was removed, and another made, since this handle was sent");
  if (!facts.regular || facts.size_bytes == 0)
    throw_system_error(EINVAL, fmt::format("{}: {} was not made by Tandem", what, path));
  if (facts.user != ::geteuid())
    throw_system_error(
        EACCES, fmt::format("{}: it belongs to user {}, and this process is user {}'s", what, facts.user, ::geteuid()));
  std::shared_ptr<Segment> mapped(new Segment(what, file.get(), facts.size_bytes));
  mapped->name_ = name;
  TANDEM_KILL_POINT("segment.attach.mapped");
  log_line(LogLevel::Debug, "shared memory {} of {} bytes is attached", quoted(name), facts.size_bytes);
  return mapped;
}

void Segment::unlink(const std::string& name) {
  check_name(name);
  const std::string what = "cannot remove shared memory " + quoted(name), path = path_of(name);
  for (;;) {
    LockFile file;
    if (!file.open(path, kOpenFlags)) throw_errno(errno == ENOENT ? what + ": nobody has it" : what);
    file.lock(kNameByte);
    if (remove_locked_name(path, facts_of(file.fd()).id)) return;
    // Another has removed it in between; by now there may be a new one.
  }
}

std::size_t Segment::sweep() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(kFolder), ::closedir);
  if (!folder) return 0;  // Whoever wants to make something there is told.
  std::vector<std::string> removed;
  while (const dirent* const entry = ::readdir(folder.get())) {
    const std::string_view file = entry->d_name;
    if (!file.starts_with(kPrefix) || file.size() == kPrefix.size()) continue;
    const std::string name(file.substr(kPrefix.size())), path = path_of(name);
    if (!seems_owned(path) && remove_leftover(path, IfBusy::LeaveIt) == Look::Removed) removed.push_back(quoted(name));
  }
  if (!removed.empty())
    log_line(LogLevel::Info, "shared memory whose owner is dead was removed: {} ({})", removed.size(),
             fmt::join(removed, ", "));
  return removed.size();
}

Segment::~Segment() {
  try {
    if (is_owner()) {
      // Owners that let go at the same time do so one after the other: one of them finds itself the last.
      owner_lock_.lock(kNameByte);
      if (owner_lock_.try_lock(kOwnerByte)) remove_locked_name(path_of(name_), id_);
    }
  } catch (const std::exception& error) {
    // The next sweep does it.
    log_line(LogLevel::Error, "{}", error.what());
  }
  ::munmap(bytes_.data(), bytes_.size());
}

bool Segment::adopt() {
  if (is_owner()) return true;
  const std::string path = path_of(name_);
  LockFile file;
  if (!file.open(path, kOpenFlags)) {
    if (errno == ENOENT) return false;
    throw_errno("cannot become an owner of shared memory " + quoted(name_));
  }
  if (facts_of(file.fd()).id != id_) return false;
  file.lock(kNameByte);
  TANDEM_KILL_POINT("segment.adopt.locked");
  // Nobody else has it alone: that takes the name's byte.
  if (!stands_for(path, id_) || !file.try_lock_shared(kOwnerByte)) return is_owner();
  file.unlock(kNameByte);
  TANDEM_KILL_POINT("segment.adopt.adopted");
  owner_lock_.take_over(file);
  return true;
}

}  // namespace tandem::detail
