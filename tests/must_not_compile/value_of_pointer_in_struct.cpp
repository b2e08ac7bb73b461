// EXPECT: GiveItSerializeSinceItHoldsAnAddress
#include <tandem/value.hpp>

struct Node {
  int number;
  Node* next;
};
tandem::Value<Node> node;
