// EXPECT: get_lock
#include <tandem/array.hpp>

void change(tandem::RawArray<int> numbers) {
  numbers.get_lock().lock();
}
