// EXPECT: ShareStdArrayNotAContainerThatGrows
#include <string>

#include <tandem/value.hpp>

tandem::Value<std::string> name;
