// EXPECT: a member of this type refers to memory of this process \(a pointer, a view\) or has its own serialize
#include <string_view>

#include "start.hpp"

struct Name {
  char initial;
  std::string_view rest;
};
struct Base {
  int id;
};
struct Person : Base {
  double height[3];
  Name names[2];
};
void greet(Person);

void caller(const Person& person) {
  start(greet, person);
}
