/// The thin layer over pthreads and what Linux adds to them: one place for the calls and for their errors.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <cstddef>
#include <string>

namespace tandem::detail {

/// Starts a thread with a stack of `stack_bytes` (0: the system's default); returns an errno value, 0 if it runs. By
/// the time that `thread` is written it may have ended.
int start_native_thread(std::size_t stack_bytes, void* (*entry)(void*), void* argument,
                        pthread_t* thread = nullptr) noexcept;

/// The kernel's number for the calling thread.
pid_t current_native_id() noexcept;
/// Whether the calling thread is the one that runs main(), or in a forked process the one that called fork().
bool is_main_native_thread() noexcept;

/// What the system shows of a thread's name: at most 15 bytes, cut at a whole UTF-8 character and at the first NUL.
std::string native_thread_name(const std::string& name);
/// Shows `name` as the name of a thread that has not ended; that it cannot be shown is no error.
void set_native_thread_name(pthread_t thread, const std::string& name) noexcept;

/// Sends a signal to the main thread of this process. Throws std::invalid_argument if there is no such signal.
void signal_main_thread(int signum);

}  // namespace tandem::detail
