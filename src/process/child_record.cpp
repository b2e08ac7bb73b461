#include "process/child_record.hpp"

#include <sys/resource.h>

#include <cstring>

#include "process/proc_status.hpp"

namespace tandem::detail {
namespace {

template <std::size_t kSize>
void copy_cut(char (&target)[kSize], const std::string& text) {
  if (text.size() < kSize) {
    std::memcpy(target, text.c_str(), text.size() + 1);
  } else {
    constexpr char kCut[] = " ...";
    std::memcpy(target, text.data(), kSize - sizeof kCut);
    std::memcpy(target + kSize - sizeof kCut, kCut, sizeof kCut);
  }
}

bool begin(std::atomic<NoteState>& state) noexcept {
  NoteState empty = NoteState::Empty;
  return state.compare_exchange_strong(empty, NoteState::Begun, std::memory_order_relaxed);
}

}  // namespace

void ChildRecord::note_exception(const ExceptionInfo& info) noexcept {
  if (!begin(exception_state)) return;
  copy_cut(exception_type, info.type_name);
  copy_cut(exception_text, info.what);
  copy_cut(exception_stack, info.stack);
  // SYNC(child-note): what stands before is seen by the parent that finds Complete here.
  exception_state.store(NoteState::Complete, std::memory_order_release);
}

void ChildRecord::note_exit(int code) noexcept {
  note_peak_memory();
  exit_code = code & 0xff;
  exit_state.store(NoteState::Complete, std::memory_order_release);  // SYNC(child-note)
}

bool ChildRecord::executed = false;

void ChildRecord::note_peak_memory() noexcept {
  if (!executed) {
    rusage used{};
    if (::getrusage(RUSAGE_SELF, &used) == 0)
      peak_memory_bytes.store(static_cast<std::uint64_t>(used.ru_maxrss) * 1024, std::memory_order_relaxed);
    return;
  }
  char text[4096];
  read_status(text);
  const char* at = std::strstr(text, "VmHWM:");
  if (at == nullptr) return;
  std::uint64_t kib = 0;
  for (at += std::strlen("VmHWM:"); *at == ' ' || *at == '\t'; ++at) {
  }
  for (; *at >= '0' && *at <= '9'; ++at) kib = kib * 10 + static_cast<std::uint64_t>(*at - '0');
  peak_memory_bytes.store(kib * 1024, std::memory_order_relaxed);
}

}  // namespace tandem::detail
