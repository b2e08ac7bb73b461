// Making and attaching named memory, beside the bare system calls, which remember nothing of the owner.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <tandem/shared_memory.hpp>

namespace {

constexpr std::size_t kBytes = 4096;

std::string name_of(const char* what) {
  return "bench-" + std::to_string(::getpid()) + "-" + what;
}

void posix_create(benchmark::State& state) {
  const std::string name = "/" + name_of("posix");
  for (auto _ : state) {
    const int fd = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ::posix_fallocate(fd, 0, kBytes);
    void* const base = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    *static_cast<char*>(base) = 1;
    ::munmap(base, kBytes);
    ::shm_unlink(name.c_str());
  }
}
BENCHMARK(posix_create);

// The argument: how many others are there, which are looked at each time.
void tandem_create(benchmark::State& state) {
  std::vector<tandem::SharedMemory> others;
  for (long i = 0; i < state.range(0); ++i) others.push_back(tandem::SharedMemory::create(kBytes));
  const std::string name = name_of("tandem");
  for (auto _ : state) tandem::SharedMemory::create(name, kBytes).data()[0] = std::byte{1};
}
BENCHMARK(tandem_create)->Arg(0)->Arg(10)->Arg(100);

void posix_attach(benchmark::State& state) {
  const tandem::SharedMemory memory = tandem::SharedMemory::create(name_of("attached"), kBytes);
  const std::string name = "/tandem.memory." + memory.name();
  for (auto _ : state) {
    const int fd = ::shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0);
    void* const base = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    *static_cast<char*>(base) = 1;
    ::munmap(base, kBytes);
  }
}
BENCHMARK(posix_attach);

void tandem_attach(benchmark::State& state) {
  std::vector<tandem::SharedMemory> others;
  for (long i = 0; i < state.range(0); ++i) others.push_back(tandem::SharedMemory::create(kBytes));
  const tandem::SharedMemory memory = tandem::SharedMemory::create(name_of("attached"), kBytes);
  for (auto _ : state) tandem::SharedMemory::attach(memory.name()).data()[0] = std::byte{1};
}
BENCHMARK(tandem_attach)->Arg(0)->Arg(10)->Arg(100);

}  // namespace

BENCHMARK_MAIN();
