/// The main() of every test executable: gtest's, behind tandem::init().
#include <gtest/gtest.h>

#include <tandem/init.hpp>

#include "support/random.hpp"

int main(int argc, char** argv) {
  tandem::init();  // In a process that Tandem executed, this runs the test's child and never returns.
  testing::InitGoogleTest(&argc, argv);
  if (!GTEST_FLAG_GET(list_tests)) tandem::testing::print_seed();
  return RUN_ALL_TESTS();
}
