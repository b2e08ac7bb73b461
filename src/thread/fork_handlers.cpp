#include "thread/fork_handlers.hpp"

#include <pthread.h>

#include "core/check.hpp"
#include "thread/process_exit.hpp"
#include "thread/thread_registry.hpp"

namespace tandem::detail {
namespace {

void before_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  exit_hooks_mutex().lock();
  excepthook_mutex().lock();
  ThreadRegistry::instance().before_fork();
}

void after_fork_in_parent() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  ThreadRegistry::instance().after_fork_in_parent();
  excepthook_mutex().unlock();
  exit_hooks_mutex().unlock();
}

void after_fork_in_child() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  ThreadRegistry::instance().after_fork_in_child();
  excepthook_mutex().unlock();
  exit_hooks_mutex().unlock();
  restart_process_exit();
}

}  // namespace

void arm_fork_handlers() {
  static const int error = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  TANDEM_CHECK(error == 0, error, 0);
}

}  // namespace tandem::detail
