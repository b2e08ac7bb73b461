#include "core/throw_stack.hpp"

#include <cxxabi.h>

#include <cstring>

#include "core/check.hpp"

namespace tandem::detail {
namespace {

thread_local ThrowStackScope* current_scope = nullptr;

}  // namespace

// The type that run() pretends to catch. Its destructor is declared and defined nowhere, which makes the compiler look
// elsewhere for its type information: throw_filter.cpp has it.
struct ThrowFilter {
  virtual ~ThrowFilter();
};

ThrowStackScope::ThrowStackScope() noexcept : outer_(current_scope), uncaught_(std::uncaught_exceptions()) {
  current_scope = this;
}

ThrowStackScope::~ThrowStackScope() {
  current_scope = outer_;
  // An exception that nobody caught between this scope and the outer one is on its way to that, which was not asked
  // while this one stood and would now, half unwound, take the wrong stack.
  if (outer_ == nullptr || type_ == nullptr || outer_->type_ != nullptr) return;
  if (std::uncaught_exceptions() <= uncaught_) return;
  outer_->type_ = type_;
  outer_->object_ = object_;
  outer_->stack_ = stack_;
  outer_->inherited_ = true;
}

void ThrowStackScope::see_leaving(const std::type_info* type, const void* object) noexcept {
  ThrowStackScope* scope = current_scope;
  if (scope == nullptr) return;
  const bool is_same = scope->type_ == type && scope->object_ == object;
  if (scope->type_ != nullptr && (!scope->inherited_ || is_same)) return;
  // A thread that is being ended by pthread_exit() or pthread_cancel() passes here too.
  if (*type == typeid(abi::__forced_unwind)) return;
  scope->type_ = type;
  scope->object_ = object;
  scope->inherited_ = false;
  capture_raw_stack(scope->stack_);
}

void ThrowStackScope::run_watched(void (*call)(void*), void* body) {
  type_ = nullptr;
  inherited_ = false;
  try {
    call(body);
  } catch (const ThrowFilter&) {
    TANDEM_CHECK(false, 0, 0);
  }
}

bool find_throw_stack(const std::exception_ptr& exception, StackTrace& trace) noexcept {
  const std::type_info* type = exception ? exception.__cxa_exception_type() : nullptr;
  if (type == nullptr) return false;
  // An exception_ptr is the address of the object thrown; the search for a handler is told that address, except for
  // an object that is a pointer, of which it is told the value.
  static_assert(sizeof exception == sizeof(void*));
  const void* object = nullptr;
  std::memcpy(&object, &exception, sizeof object);
  if (type->__is_pointer_p()) std::memcpy(&object, object, sizeof object);
  for (const ThrowStackScope* scope = current_scope; scope != nullptr; scope = scope->outer_) {
    if (scope->type_ == type && scope->object_ == object) {
      resolve_stack(scope->stack_, trace);
      return true;
    }
  }
  return false;
}

}  // namespace tandem::detail
