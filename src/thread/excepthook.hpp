/// Reporting exceptions that nobody caught.
#pragma once

#include <exception>
#include <string>

namespace tandem::detail {

class ThreadRecord;

/// Hands the exception that left the body of `record`, which is the calling thread, to the hook.
void report_uncaught(ThreadRecord& record, std::exception_ptr exception) noexcept;

/// Prints an exception that has no thread to blame, for example "Exception in exit hook:".
void print_uncaught(const std::string& where, std::exception_ptr exception) noexcept;

/// Writes `text` on standard error in one piece; does nothing if there is none.
void print_on_stderr(const std::string& text) noexcept;

}  // namespace tandem::detail
