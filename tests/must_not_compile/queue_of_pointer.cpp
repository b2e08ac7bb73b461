// EXPECT: SendTheValueNotAPointerToIt
#include <tandem/queue.hpp>

tandem::Queue<int*> numbers;
