#include "process/executed_child.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/kill_point.hpp"
#include "ipc/arena.hpp"
#include "process/child_record.hpp"
#include "process/descriptors.hpp"
#include "process/lifeline.hpp"

namespace tandem::detail {
namespace {

constexpr char kVariable[] = "TANDEM_CHILD";

// Where an executed process finds what it was given.
enum Place : int { kArenaPlace = 3, kLifelinePlace, kSocketPlace, kFirstArgumentPlace };

Seat& seat() {
  static auto* const made = new Seat;
  return *made;
}

std::vector<std::string> command_line() {
  std::vector<std::string> words;
  const std::string text = read_small_file("/proc/self/cmdline");
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\0', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (words.empty()) words.emplace_back("tandem");
  return words;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

class FileActions {
 public:
  FileActions() { check(::posix_spawn_file_actions_init(&actions_)); }
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;

  void place(int fd, int at) { check(::posix_spawn_file_actions_adddup2(&actions_, fd, at)); }
  void close(int fd) { check(::posix_spawn_file_actions_addclose(&actions_, fd)); }
  void close_from(int first) { check(::posix_spawn_file_actions_addclosefrom_np(&actions_, first)); }
  const posix_spawn_file_actions_t* get() const noexcept { return &actions_; }

 private:
  static void check(int error) {
    if (error != 0) throw_system_error(error, "cannot prepare the descriptors of a child process");
  }
  posix_spawn_file_actions_t actions_;
};

// "server" or "child OFFSET GENERATION ARGUMENTS".
std::string variable_for(const Execution& execution) {
  std::string text = std::string(kVariable) + "=";
  if (execution.as == ExecutedAs::Server) return text + "server";
  return text + "child " + std::to_string(execution.parcel.offset) + " " + std::to_string(execution.parcel.generation) +
         " " + std::to_string(execution.arguments.size());
}

[[noreturn]] void refuse(const std::string& value, const std::string& why) {
  std::fprintf(stderr,
               "tandem: the environment variable %s is \"%s\", but %s; it is set by Tandem for the processes that it "
               "executes: unset it\n",
               kVariable, value.c_str(), why.c_str());
  ::_exit(127);
}

void sit_down(const std::string& value) {
  Seat& mine = seat();
  unsigned long long offset = 0, generation = 0;
  std::size_t arguments = 0;
  char rest = '\0';
  if (value == "server") {
    mine.as = ExecutedAs::Server;
  } else if (std::sscanf(value.c_str(), "child %llu %llu %zu%c", &offset, &generation, &arguments, &rest) == 3) {
    mine.as = ExecutedAs::Child;
    ChildRecord::executed = true;
    mine.parcel = {offset, generation};
  } else {
    refuse(value, "that has no meaning");
  }
  const int end = kFirstArgumentPlace + static_cast<int>(arguments);
  for (int fd = kArenaPlace; fd < end; ++fd) {
    const bool open = ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
    if (fd == kSocketPlace && open) mine.socket = Fd(fd);
    if (!open && (fd != kSocketPlace || mine.as == ExecutedAs::Server))
      refuse(value, "descriptor " + std::to_string(fd) + " is not open");
  }
  hold_lifeline(Fd(kLifelinePlace));
  TANDEM_KILL_POINT("process.child.lifeline");
  adopt_arena(kArenaPlace);
  for (int fd = kFirstArgumentPlace; fd < end; ++fd) mine.arguments.emplace_back(fd);
  // Otherwise the system calls it "exe", after the link that was executed.
  ::prctl(PR_SET_NAME, program_invocation_short_name);
}

// Before the constructors of the program's own static objects: shared objects among these must be made in the family's
// arena, and whatever they start must not believe that it was executed by Tandem.
__attribute__((constructor(102))) void find_seat() {
  const char* const text = std::getenv(kVariable);
  if (text == nullptr) return;
  const std::string value = text;
  ::unsetenv(kVariable);
  try {
    sit_down(value);
  } catch (const std::exception& error) {
    refuse(value, error.what());
  }
}

}  // namespace

pid_t execute_this_program(const Execution& execution) {
  const int end = kFirstArgumentPlace + static_cast<int>(execution.arguments.size());
  // Copies above all places, so that placing one does not close another that is still to be placed.
  std::vector<Fd> copies;
  FileActions actions;
  const auto place = [&](int fd, int at) {
    copies.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, end));
    if (!copies.back()) throw_errno("cannot duplicate a descriptor for a child process");
    actions.place(copies.back().get(), at);
  };
  place(arena_descriptor(), kArenaPlace);
  place(execution.lifeline_fd, kLifelinePlace);
  if (execution.socket_fd >= 0)
    place(execution.socket_fd, kSocketPlace);
  else
    actions.close(kSocketPlace);
  for (std::size_t i = 0; i < execution.arguments.size(); ++i)
    place(execution.arguments[i], kFirstArgumentPlace + static_cast<int>(i));
  if (execution.stderr_fd >= 0) place(execution.stderr_fd, STDERR_FILENO);
  actions.close_from(end);

  std::vector<std::string> words = command_line();
  std::vector<std::string> environment = execution.environment;
  environment.push_back(variable_for(execution));
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", actions.get(), nullptr, pointers_to(words).data(),
                                  pointers_to(environment).data());
  if (error != 0) throw_system_error(error, "cannot execute this program (/proc/self/exe) once more");
  return pid;
}

std::vector<std::string> environment_with(const std::map<std::string, std::optional<std::string>>& changes) {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!changes.contains(text.substr(0, text.find('=')))) all.push_back(text);
  }
  for (const auto& [name, value] : changes)
    if (value) all.push_back(name + "=" + *value);
  return all;
}

Seat take_seat() {
  return std::exchange(seat(), Seat());
}

}  // namespace tandem::detail
