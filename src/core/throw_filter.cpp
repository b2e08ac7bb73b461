// The type information of the type that ThrowStackScope::run() pretends to catch. A file of its own, so that the
// compiler that sees the catch clause takes it for something defined elsewhere.
#include <typeinfo>

#include "core/throw_stack.hpp"

namespace tandem::detail {

class ThrowFilterType final : public std::type_info {
 public:
  ThrowFilterType() : std::type_info("N6tandem6detail11ThrowFilterE") {}

  // Asked by the C++ library's personality routine, first in the search for a handler, when the thrower's frames are
  // all still there; then once more while unwinding, when they are not.
  bool __do_catch(const std::type_info* type, void** object, unsigned) const override {
    ThrowStackScope::see_leaving(type, *object);
    return false;
  }
};

// Never destroyed: exceptions pass through run() while static objects are being destroyed. Not in an unnamed namespace,
// which would make the object below local to this file.
union ThrowFilterStorage {
  ThrowFilterType type;
  ThrowFilterStorage() : type() {}
  ~ThrowFilterStorage() {}
};

// The linker's name of typeid(ThrowFilter). Made before other static objects, whose constructors may start threads.
extern ThrowFilterStorage throw_filter_type __asm__("_ZTIN6tandem6detail11ThrowFilterE");
[[gnu::used, gnu::init_priority(101)]] ThrowFilterStorage throw_filter_type;

}  // namespace tandem::detail
