// EXPECT: SendStdStringNotStringView
#include <string_view>

#include <tandem/queue.hpp>

tandem::Queue<std::string_view> names;
