// SharedMemory: made and attached by name, beside the bare system calls, which remember nothing of the owner.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>

#include <tandem/init.hpp>
#include <tandem/shared_memory.hpp>

#include "bench.hpp"

namespace {

using namespace tandem::bench;

constexpr std::size_t kBytes = 4096;
constexpr int kCalls = 200;

std::string name_of(const char* what) {
  return "bench-" + std::to_string(::getpid()) + "-" + what;
}

/// Maps what `fd` refers to, writes to it, and lets go of both.
void use(int fd) {
  if (fd < 0) throw std::runtime_error("cannot open shared memory");
  void* const base = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (base == MAP_FAILED) throw std::runtime_error("cannot map shared memory");
  *static_cast<char*>(base) = 1;
  ::munmap(base, kBytes);
}

double posix_create() {
  const std::string name = "/" + name_of("posix");
  return median_microseconds(kCalls, [&] {
    const int fd = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    static_cast<void>(::posix_fallocate(fd, 0, kBytes));
    use(fd);
    ::shm_unlink(name.c_str());
  });
}

double our_create() {
  const std::string name = name_of("tandem");
  return median_microseconds(kCalls, [&] { tandem::SharedMemory::create(name, kBytes).data()[0] = std::byte{1}; });
}

double posix_attach() {
  const tandem::SharedMemory memory = tandem::SharedMemory::create(name_of("attached"), kBytes);
  const std::string name = "/tandem.memory." + memory.name();
  return median_microseconds(kCalls, [&] { use(::shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0)); });
}

double our_attach() {
  const tandem::SharedMemory memory = tandem::SharedMemory::create(name_of("attached"), kBytes);
  return median_microseconds(kCalls, [&] { tandem::SharedMemory::attach(memory.name()).data()[0] = std::byte{1}; });
}

/// `others` are there too, which are looked at each time.
void measure(Table& table, const std::string& others) {
  table.compare({"SharedMemory, create" + others, "us"}, our_create, {{"shm_open and mmap", posix_create}});
  table.compare({"SharedMemory, attach" + others, "us"}, our_attach, {{"shm_open and mmap", posix_attach}});
}

}  // namespace

int main(int argc, char** argv) {
  tandem::init();
  return run(argc, argv, [](Table& table, const Options&) {
    measure(table, "");
    std::vector<tandem::SharedMemory> others;
    for (int i = 0; i < 100; ++i) others.push_back(tandem::SharedMemory::create(kBytes));
    measure(table, ", among 100 others");
  });
}
