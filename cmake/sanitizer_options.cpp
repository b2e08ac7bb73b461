// Linked into every executable that is built with a sanitizer: how the sanitizer is to behave in it, also when it is
// run by hand and whatever environment it gives its children.

// Fatal signals are left to Tandem, whose reports of crashes are tested under sanitizers too.
#define TANDEM_NO_SIGNALS \
  "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:handle_abort=0:handle_sigtrap=0"

extern "C" {

const char* __asan_default_options() {
  return TANDEM_NO_SIGNALS ":detect_stack_use_after_return=1:strict_string_checks=1";
}

const char* __ubsan_default_options() {
  return TANDEM_NO_SIGNALS ":print_stacktrace=1";
}

const char* __tsan_default_options() {
  // die_after_fork: forked processes start threads here. report_thread_leaks: a program may end while a thread that
  // nobody joins, as a daemon, has just ended. atexit_sleep_ms: a second at the end of each of two thousand processes
  // would be most of what the suite takes.
  return TANDEM_NO_SIGNALS
      ":die_after_fork=0:report_thread_leaks=0:second_deadlock_stack=1:history_size=4:atexit_sleep_ms=50";
}
}
