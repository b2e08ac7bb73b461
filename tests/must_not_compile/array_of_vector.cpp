// EXPECT: ShareStdArrayNotAContainerThatGrows
#include <vector>

#include <tandem/array.hpp>

tandem::Array<std::vector<int>> rows(10);
