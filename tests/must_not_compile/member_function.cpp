// EXPECT: a pointer to a member is not portable: send a capture-less lambda that uses the member
#include "start.hpp"

struct Worker {
  void work();
};

void caller() {
  start(&Worker::work, Worker());
}
