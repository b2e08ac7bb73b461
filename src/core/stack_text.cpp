#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/demangle.hpp"
#include "core/stack.hpp"
#include "core/symbol_file.hpp"

namespace tandem::detail {
namespace {

// A line of the text to be.
struct Line {
  std::string function;
  std::string place;
};

// The files that were asked for, kept open: reading one's debug information costs milliseconds.
class SymbolFiles {
 public:
  SymbolFile& of(const StackModule& module) {
    std::string key(reinterpret_cast<const char*>(module.build_id), module.build_id_size);
    key += module.path;
    return files_.try_emplace(std::move(key), module).first->second;
  }

 private:
  std::map<std::string, SymbolFile> files_;
};

std::string hex(std::uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
  return text;
}

void add_lines(const StackFrame& frame, const StackTrace& trace, SymbolFiles& files, std::vector<Line>& lines) {
  if (frame.module >= std::min<std::size_t>(trace.module_count, StackTrace::kMaxModules)) {
    lines.push_back({"", hex(frame.address)});
    return;
  }
  const StackModule& module = trace.modules[frame.module];
  const std::size_t path_size = strnlen(module.path, StackModule::kMaxPath);
  const std::string in_module =
      (path_size == 0 ? "unknown module" : std::string(module.path, path_size)) + "+" + hex(frame.address);
  const auto& places = files.of(module).places_at(frame.address);
  if (places.empty()) lines.push_back({"", in_module});
  for (const SourcePlace& place : places) {
    if (place.file.empty()) {
      lines.push_back({place.function, " in " + in_module});
    } else {
      lines.push_back({place.function, " at " + place.file + ":" + std::to_string(place.line)});
    }
  }
}

// How a throw works: what stands between the place that throws and the unwinder's search for a handler.
bool raises_first(std::string_view name) {
  return name.find("__cxa_throw") != name.npos;
}
bool raises_again(std::string_view name) {
  return name.find("__cxa_rethrow") != name.npos || name.find("_Unwind_Resume_or_Rethrow") != name.npos ||
         name.starts_with("std::rethrow_exception");
}
bool raises(std::string_view name) {
  return raises_first(name) || raises_again(name) || name.find("_Unwind_RaiseException") != name.npos;
}

// How a thread or the program starts: what a reader who looks for their own code need not see.
bool starts_thread(std::string_view function) {
  constexpr std::array<std::string_view, 8> kNames = {
      "_start",           "start_thread", "clone", "__clone", "clone3", "__clone3", "execute_native_thread_routine",
      "asan_thread_start"};
  constexpr std::array<std::string_view, 14> kPrefixes = {
      "__libc_start",    "__asan::",      "__tsan",         "__sanitizer::",         "__interceptor_",
      "___interceptor_", "std::thread::", "std::jthread::", "std::__invoke",         "std::invoke",
      "std::__apply",    "std::apply",    "std::function",  "std::_Function_handler"};
  const std::string_view name = bare_function_name(function);
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || name.starts_with("tandem::detail::") ||
         std::any_of(kPrefixes.begin(), kPrefixes.end(), [name](auto prefix) { return name.starts_with(prefix); });
}

bool starts_thread(const Line& line) {
  if (!line.function.empty()) return starts_thread(line.function);
  // Where the symbols of these are stripped, what stands outside everybody's code is their start of a thread.
  constexpr std::array<std::string_view, 4> kLibraries = {"/libstdc++.so", "/libc.so", "/libasan.so", "/libtsan.so"};
  return std::any_of(kLibraries.begin(), kLibraries.end(),
                     [&](auto library) { return line.place.find(library) != line.place.npos; });
}

// What stands outside the functions that run a body is how it came to run: in a child process, all of main() too. They
// may be some frames apart from each other. 0 if there is none.
std::size_t outer_end_of_body(const std::vector<Line>& lines) {
  constexpr std::array<std::string_view, 3> kRunBody = {"tandem::detail::ThrowStackScope::run_watched(",
                                                        "tandem::detail::run_call(",
                                                        "tandem::detail::BoundProcessBody<"};
  constexpr std::size_t kApart = 12;
  std::size_t end = 0;
  for (std::size_t i = lines.size(); i > 0 && (end == 0 || end - i < kApart); --i)
    if (std::any_of(kRunBody.begin(), kRunBody.end(),
                    [&](auto name) { return lines[i - 1].function.find(name) != std::string::npos; }))
      end = i;
  return end;
}

// What is left out of the text, and whether the exception that is on its way was thrown before.
struct Trimmed {
  std::size_t inner = 0;
  std::size_t outer = 0;
  bool raised_again = false;
};

Trimmed trim(const std::vector<Line>& lines, bool complete) {
  // Whoever takes a stack while an exception is on its way is within the unwinder: everything up to it goes.
  constexpr std::size_t kSearched = 32;
  Trimmed result{0, lines.size(), false};
  for (std::size_t i = 0; i < std::min(lines.size(), kSearched); ++i) {
    if (!raises(lines[i].function)) continue;
    result.inner = i + 1;
    result.raised_again = raises_again(lines[i].function);
  }
  while (result.inner != 0 && result.inner < lines.size() &&
         lines[result.inner].function.starts_with("std::__throw_")) {
    ++result.inner;
  }
  if (const std::size_t body = outer_end_of_body(lines); body > result.inner) {
    result.outer = body;
    complete = true;
  }
  while (complete && result.outer > result.inner && starts_thread(lines[result.outer - 1])) --result.outer;
  // The body's own frames may all have been inlined into those that run it: then these are what there is to show.
  if (result.inner == result.outer) result.outer = lines.size();
  if (result.inner == result.outer) return {0, lines.size(), false};
  return result;
}

std::string text_with(SymbolFiles& files, const StackTrace& trace) {
  std::vector<Line> lines;
  // The trace may come from memory that another process was killed over.
  const std::size_t count = std::min<std::size_t>(trace.frame_count, StackTrace::kMaxFrames);
  for (std::size_t i = 0; i < count; ++i) add_lines(trace.frames[i], trace, files, lines);
  const Trimmed shown = trim(lines, trace.truncated == 0);
  std::string text;
  for (std::size_t i = shown.inner; i < shown.outer; ++i) {
    text += "#" + std::to_string(i - shown.inner) + " " + lines[i].function + lines[i].place + "\n";
  }
  if (shown.raised_again) text += "(thrown again at #0; where it was thrown first is not known)\n";
  if (trace.truncated != 0) text += "(more frames, not kept)\n";
  return text;
}

}  // namespace

std::string text(const StackTrace& trace) {
  static std::mutex mutex;
  // Never destroyed: a thread may report its end while the program's static objects are being destroyed.
  static auto& files = *new SymbolFiles;
  static const pid_t owner = getpid();
  // A forked child whose parent was at it just then finds the mutex locked for ever, by a thread that does not exist in
  // the child. So children do not wait, and work with files of their own.
  std::unique_lock lock(mutex, std::defer_lock);
  if (getpid() == owner) {
    lock.lock();
  } else if (!lock.try_lock()) {
    SymbolFiles own;
    return text_with(own, trace);
  }
  return text_with(files, trace);
}

}  // namespace tandem::detail
