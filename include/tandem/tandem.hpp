/// All of Tandem. Each header can be included alone.
///
/// Not here: plugin.hpp, which is for a plugin alone and puts a note into whatever includes it, and load_plugin.hpp,
/// for the program that loads one.
#pragma once

#include <tandem/any_lock.hpp>
#include <tandem/arena.hpp>
#include <tandem/array.hpp>
#include <tandem/barrier.hpp>
#include <tandem/broadcast.hpp>
#include <tandem/callable.hpp>
#include <tandem/compare.hpp>
#include <tandem/condition.hpp>
#include <tandem/connection.hpp>
#include <tandem/cpu.hpp>
#include <tandem/crash_report.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/error.hpp>
#include <tandem/event.hpp>
#include <tandem/excepthook.hpp>
#include <tandem/executor.hpp>
#include <tandem/executor_options.hpp>
#include <tandem/exit.hpp>
#include <tandem/future.hpp>
#include <tandem/gil.hpp>
#include <tandem/init.hpp>
#include <tandem/journal.hpp>
#include <tandem/listener.hpp>
#include <tandem/lock.hpp>
#include <tandem/log.hpp>
#include <tandem/process.hpp>
#include <tandem/progress.hpp>
#include <tandem/queue.hpp>
#include <tandem/raw_value.hpp>
#include <tandem/rlock.hpp>
#include <tandem/semaphore.hpp>
#include <tandem/shareable.hpp>
#include <tandem/shared_file.hpp>
#include <tandem/shared_memory.hpp>
#include <tandem/start_method.hpp>
#include <tandem/start_new_thread.hpp>
#include <tandem/thread.hpp>
#include <tandem/thread_info.hpp>
#include <tandem/timer.hpp>
#include <tandem/value.hpp>
#include <tandem/version.hpp>
#include <tandem/wait.hpp>
#include <tandem/wire.hpp>
