/// All of Tandem. Each header can be included alone.
#pragma once

#include <tandem/arena.hpp>
#include <tandem/callable.hpp>
#include <tandem/compare.hpp>
#include <tandem/connection.hpp>
#include <tandem/cpu.hpp>
#include <tandem/crash_report.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/error.hpp>
#include <tandem/excepthook.hpp>
#include <tandem/exit.hpp>
#include <tandem/gil.hpp>
#include <tandem/init.hpp>
#include <tandem/process.hpp>
#include <tandem/queue.hpp>
#include <tandem/start_method.hpp>
#include <tandem/start_new_thread.hpp>
#include <tandem/thread.hpp>
#include <tandem/thread_info.hpp>
#include <tandem/timer.hpp>
#include <tandem/version.hpp>
#include <tandem/wire.hpp>
