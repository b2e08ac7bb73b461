// EXPECT: this type has a reference or const member and cannot be assigned: give it a serialize member
#include "start.hpp"

struct Context {
  int& counter;
};
void work(Context);

void caller(const Context& context) {
  start(work, context);
}
