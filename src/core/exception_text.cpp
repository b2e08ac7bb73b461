#include "core/exception_text.hpp"

#include <typeinfo>

#include "core/demangle.hpp"
#include "core/stack.hpp"
#include "core/throw_stack.hpp"

namespace tandem::detail {
namespace {

// Exceptions nested deeper than this say nothing more to a reader, and a chain may be a circle.
constexpr int kMaxNested = 16;

std::string type_name_of(const std::exception_ptr& exception) {
  const std::type_info* type = exception.__cxa_exception_type();
  return type != nullptr ? demangle(type->name()) : "exception of another language";
}

void describe(const std::exception_ptr& exception, int depth, std::string& type_name, std::string& what);

void append_nested(const std::exception& error, int depth, std::string& what) {
  const auto* nesting = dynamic_cast<const std::nested_exception*>(&error);
  if (nesting == nullptr || nesting->nested_ptr() == nullptr || depth == kMaxNested) return;
  std::string inner_type;
  std::string inner_what;
  describe(nesting->nested_ptr(), depth + 1, inner_type, inner_what);
  what += "; caused by " + inner_type;
  if (!inner_what.empty()) what += ": " + inner_what;
}

void describe(const std::exception_ptr& exception, int depth, std::string& type_name, std::string& what) {
  type_name = type_name_of(exception);
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    const char* text = error.what();
    what = text != nullptr ? text : "";
    append_nested(error, depth, what);
  } catch (const std::string& text) {
    what = text;
  } catch (const char* text) {
    what = text != nullptr ? text : "";
  } catch (int number) {
    what = std::to_string(number);
  } catch (...) {
    what.clear();
  }
}

}  // namespace

ExceptionInfo describe_exception(const std::exception_ptr& exception) {
  ExceptionInfo info;
  if (exception == nullptr) return info;
  // The stack first: describing throws, through this very frame, and must not be mistaken for it.
  StackTrace trace;
  if (find_throw_stack(exception, trace)) info.stack = text(trace);
  describe(exception, 0, info.type_name, info.what);
  return info;
}

}  // namespace tandem::detail
