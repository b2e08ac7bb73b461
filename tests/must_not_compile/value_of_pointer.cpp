// EXPECT: SendTheValueNotAPointerToIt
#include <tandem/value.hpp>

tandem::Value<int*> number;
