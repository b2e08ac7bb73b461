// EXPECT: this type has no rule to travel by: give it a member `template <class Archive> void serialize
#include <string>

#include "start.hpp"

struct Person {
  std::string name;
};
void greet(Person);

void caller(const Person& person) {
  start(greet, person);
}
