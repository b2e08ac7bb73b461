// EXPECT: no matching function for call to|no matching constructor for initialization
#include <mutex>

#include <tandem/value.hpp>

std::mutex mutex;
tandem::Value<int> number(5, mutex);
