// EXPECT: SendAHandleAsAnArgumentNotInsideSharedData
#include <tandem/array.hpp>
#include <tandem/lock.hpp>

tandem::RawArray<tandem::Lock> locks(10);
