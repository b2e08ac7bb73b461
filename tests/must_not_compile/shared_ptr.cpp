// EXPECT: std::weak_ptr refer to memory of this process: send the value that it points to, or std::optional of it
#include <memory>

#include "start.hpp"

void use(std::shared_ptr<int>);

void caller() {
  start(use, std::make_shared<int>(1));
}
