// EXPECT: locks, atomics, threads and futures of the standard library work within one process: send a Tandem handle
#include <mutex>

#include <tandem/wire.hpp>

static_assert(tandem::detail::require_portable<std::mutex>());
