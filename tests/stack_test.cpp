#include "core/stack.hpp"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

namespace {

using tandem::detail::capture_stack;
using tandem::detail::StackTrace;
using tandem::detail::text;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Each call must stay a call: without the empty statement behind it, it would become a jump.
#define KEEP_FRAME() asm volatile("")

[[gnu::noinline]] void innermost_of_test(StackTrace& trace) {
  capture_stack(trace);
  KEEP_FRAME();
}

[[gnu::noinline]] void middle_of_test(StackTrace& trace) {
  innermost_of_test(trace);
  KEEP_FRAME();
}

[[gnu::noinline]] void recurse(int depth, StackTrace& trace) {
  if (depth == 0) {
    capture_stack(trace);
  } else {
    recurse(depth - 1, trace);
  }
  KEEP_FRAME();
}

[[gnu::always_inline]] inline void inlined_of_test(StackTrace& trace) {
  innermost_of_test(trace);
  KEEP_FRAME();
}

[[gnu::noinline]] void has_inlined_of_test(StackTrace& trace) {
  inlined_of_test(trace);
  KEEP_FRAME();
}

// Clang's sanitizer reads what stands before a function to know its type, and would fault before the jump.
__attribute__((noinline, no_sanitize("undefined"))) void jump_to_nowhere(StackTrace&) {
  void (*volatile nothing)() = nullptr;
  nothing();
  KEEP_FRAME();
}

// A record in memory shared with a child that writes it and dies.
class StackTraceTest : public testing::Test {
 protected:
  StackTraceTest() {
    void* memory = mmap(nullptr, sizeof(StackTrace), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    shared_ = new (memory) StackTrace;
  }
  ~StackTraceTest() override { munmap(shared_, sizeof(StackTrace)); }

  // Runs `crash` in a forked child whose handler writes shared_; returns the signal that ended it.
  int run_crash(void (*crash)(StackTrace&)) {
    const pid_t child = fork();
    if (child == 0) {
      written_by_handler = shared_;
      install_handler();
      crash(*shared_);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }

  StackTrace* shared_;

 private:
  static inline StackTrace* written_by_handler = nullptr;

  static void install_handler() {
    tandem::detail::prepare_stack_capture();
    static char handler_stack[64 * 1024];
    stack_t alternative{};
    alternative.ss_sp = handler_stack;
    alternative.ss_size = sizeof handler_stack;
    sigaltstack(&alternative, nullptr);
    struct sigaction action{};
    action.sa_sigaction = [](int, siginfo_t*, void* ucontext) { capture_stack(*written_by_handler, ucontext); };
    action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND) | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
  }
};

TEST_F(StackTraceTest, NamesFunctionsWithFileAndLineInnermostFirst) {
  StackTrace trace;
  middle_of_test(trace);
  const std::string shown = text(trace);
  EXPECT_THAT(shown, StartsWith("#0 "));
  EXPECT_THAT(shown, testing::ContainsRegex("#0 [^\n]*innermost_of_test[^\n]* at [^\n]*stack_test.cpp:[0-9]+\n"
                                            "#1 [^\n]*middle_of_test[^\n]* at [^\n]*stack_test.cpp:[0-9]+\n"));
}

TEST_F(StackTraceTest, ShowsInlinedCallsAsFrames) {
  StackTrace trace;
  has_inlined_of_test(trace);
  EXPECT_THAT(text(trace), testing::ContainsRegex("#0 [^\n]*innermost_of_test[^\n]*\n"
                                                  "#1 [^\n]*inlined_of_test[^\n]*stack_test.cpp:[0-9]+\n"
                                                  "#2 [^\n]*has_inlined_of_test[^\n]*stack_test.cpp:[0-9]+\n"));
}

TEST_F(StackTraceTest, KeepsTheInnermostFramesOfADeepStackAndSaysSo) {
  StackTrace trace;
  recurse(1000, trace);
  EXPECT_EQ(trace.frame_count, StackTrace::kMaxFrames);
  EXPECT_THAT(text(trace), HasSubstr("(more frames, not kept)"));
}

TEST_F(StackTraceTest, LeavesOutHowAThreadStarts) {
  StackTrace trace;
  std::thread([&] { middle_of_test(trace); }).join();
  const std::string shown = text(trace);
  EXPECT_THAT(shown, HasSubstr("middle_of_test"));
  EXPECT_THAT(shown, Not(HasSubstr("clone3")));
  EXPECT_THAT(shown, Not(HasSubstr("_State_impl")));
}

TEST_F(StackTraceTest, IsTheInterruptedStackWhenTakenInAHandler) {
  const int signal = run_crash([](StackTrace&) {
    int* volatile nowhere = reinterpret_cast<int*>(8);
    *nowhere = 1;
  });
  EXPECT_EQ(signal, SIGSEGV);
  const std::string shown = text(*shared_);
  EXPECT_THAT(shown, testing::ContainsRegex("#0 [^\n]*stack_test.cpp:[0-9]+\n"));
  EXPECT_THAT(shown, HasSubstr("run_crash"));
  EXPECT_THAT(shown, Not(HasSubstr("capture_stack")));
}

TEST_F(StackTraceTest, FollowsAJumpToNowhereToItsCaller) {
  const int signal = run_crash(jump_to_nowhere);
  EXPECT_EQ(signal, SIGSEGV);
  const std::string shown = text(*shared_);
  EXPECT_THAT(shown, testing::ContainsRegex("^#0 0x0\n#1 [^\n]*jump_to_nowhere[^\n]*stack_test.cpp:[0-9]+\n"));
}

TEST_F(StackTraceTest, IsReadableByAProcessThatHasNotLoadedTheModule) {
  const int signal = run_crash([](StackTrace& trace) {
    // A library of every glibc that nobody loads, and a function in it.
    void* library = dlopen("libBrokenLocale.so.1", RTLD_NOW);
    tandem::detail::RawStack raw;
    raw.frame_count = 1;
    raw.pcs[0] = reinterpret_cast<std::uintptr_t>(dlsym(library, "__ctype_get_mb_cur_max"));
    tandem::detail::resolve_stack(raw, trace);
    raise(SIGKILL);
  });
  EXPECT_EQ(signal, SIGKILL);
  EXPECT_EQ(dlopen("libBrokenLocale.so.1", RTLD_NOW | RTLD_NOLOAD), nullptr);
  EXPECT_STREQ(basename(shared_->modules[0].path), "libBrokenLocale.so.1");
  EXPECT_THAT(text(*shared_), StartsWith("#0 __ctype_get_mb_cur_max "));
}

TEST_F(StackTraceTest, GivesModuleAndOffsetWhenTheFileIsOfAnotherBuild) {
  StackTrace trace;
  middle_of_test(trace);
  ASSERT_GT(trace.modules[trace.frames[0].module].build_id_size, 0) << "built without --build-id";
  trace.modules[trace.frames[0].module].build_id[0] ^= 0xff;
  const std::string shown = text(trace);
  EXPECT_THAT(shown, Not(HasSubstr("innermost_of_test")));
  EXPECT_THAT(shown, testing::ContainsRegex("#0 /[^\n]*\\+0x[0-9a-f]+\n"));
}

TEST_F(StackTraceTest, TextSurvivesARecordOfRubbish) {
  std::memset(static_cast<void*>(shared_), 0xff, sizeof *shared_);
  EXPECT_THAT(text(*shared_), StartsWith("#0 0xffffffffffffffff\n"));
}

// libunwind exports the functions of the compiler's unwinder. A program linked with it raises its exceptions through
// them, twenty times slower, and crashes in pthread_exit(): so nothing of Tandem may bring it in.
TEST_F(StackTraceTest, LeavesTheCompilersUnwinderInItsPlace) {
  Dl_info unwinder;
  ASSERT_NE(dladdr(dlsym(RTLD_DEFAULT, "_Unwind_GetIPInfo"), &unwinder), 0);
  EXPECT_THAT(unwinder.dli_fname, Not(HasSubstr("libunwind")));
}

TEST_F(StackTraceTest, IsEmptyTextWhenNothingWasTaken) {
  EXPECT_EQ(text(StackTrace{}), "");
}

}  // namespace
