// A program that knows nothing of clusters.
#include <tandem/init.hpp>

int main() {
  tandem::init();
}
