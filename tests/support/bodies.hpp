/// Bodies that a test runs as a thread and as a process: plain functions that take values.
#pragma once

#include <map>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <tandem/exit.hpp>

namespace tandem::testing::bodies {

inline void do_nothing() {}

/// An error of its own, so that a report of it cannot be that of another.
class BodyError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void throw_body_error(const std::string& text) {
  throw BodyError(text);
}
inline void throw_out_of_range(const std::string& text) {
  throw std::out_of_range(text);
}
inline void ask_to_exit(int code) {
  tandem::exit(code);
}

/// Returns once it is asked to stop, and not before.
inline void wait_for_stop(const std::stop_token& stop) {
  while (!stop.stop_requested()) std::this_thread::yield();
}

/// Arguments of every shape, as given to expect_arguments().
using NestedArgument = std::map<std::string, std::vector<std::tuple<int, std::string>>>;
inline NestedArgument nested_argument() {
  return {{"empty", {}}, {"two", {{1, "one"}, {2, std::string("t\0wo", 4)}}}};
}
inline constexpr int kScalarArgument = -7;
inline const std::string kTextArgument = "text with \xC3\xBC";

/// Throws unless the arguments are those above.
inline void expect_arguments(int scalar, const std::string& text, const NestedArgument& nested) {
  if (scalar != kScalarArgument) throw BodyError("the scalar has changed");
  if (text != kTextArgument) throw BodyError("the text has changed");
  if (nested != nested_argument()) throw BodyError("the nested container has changed");
}

}  // namespace tandem::testing::bodies
