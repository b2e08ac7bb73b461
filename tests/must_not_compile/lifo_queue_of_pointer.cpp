// EXPECT: SendTheValueNotAPointerToIt
#include <tandem/queue.hpp>

tandem::LifoQueue<int*> numbers;
