// SharedFile: a value that travels as a file. What executors do with it, in each place.
#include <tandem/shared_file.hpp>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <tandem/event.hpp>
#include <tandem/executor.hpp>

#include "support/executor_places.hpp"
#include "support/temporary_directory.hpp"

namespace tandem::testing {
namespace {

using ::testing::HasSubstr;
using Numbers = std::vector<std::int64_t>;

std::int64_t sum_of(const SharedFile<Numbers>& numbers, std::int64_t offset) {
  return std::accumulate(numbers->begin(), numbers->end(), offset);
}

std::size_t files_in(const std::filesystem::path& directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}

template <class Place>
class SharedFilePlaceTest : public ExecutorPlaceTest<Place> {
 protected:
  const std::filesystem::path& directory() const { return directory_->path(); }
  void TearDown() override {
    EXPECT_EQ(files_in(directory()), 0u);
    directory_.reset();
    ExecutorPlaceTest<Place>::TearDown();
  }

 private:
  std::optional<TemporaryDirectory> directory_{std::in_place, "shared_file"};
};
TYPED_TEST_SUITE(SharedFilePlaceTest, ExecutorPlaces, ExecutorPlaceNames);

TYPED_TEST(SharedFilePlaceTest, TasksReadTheFile) {
  auto executor = this->make(2);
  Numbers many(300'000);
  std::iota(many.begin(), many.end(), 0);
  const std::int64_t sum = std::accumulate(many.begin(), many.end(), std::int64_t{0});
  const SharedFile<Numbers> numbers(many, this->directory());
  EXPECT_TRUE(std::filesystem::exists(numbers.path()));
  std::vector<Future<std::int64_t>> sums;
  for (std::int64_t offset = 0; offset < 10; ++offset) sums.push_back(executor.submit(sum_of, numbers, offset));
  for (std::int64_t offset = 0; offset < 10; ++offset)
    EXPECT_EQ(sums[static_cast<std::size_t>(offset)].get(), sum + offset);
  EXPECT_EQ(numbers.get(), many);
}

TYPED_TEST(SharedFilePlaceTest, CallbackKeepsTheFileUntilTheTaskIsDone) {
  auto executor = this->make(1);
  Future<std::int64_t> sum;
  {
    const SharedFile<Numbers> numbers(Numbers{1, 2, 3}, this->directory());
    sum = executor.submit(sum_of, numbers, 1);
    sum.add_done_callback([numbers](const auto&) {});
  }
  EXPECT_EQ(sum.get(), 7);
  executor.shutdown();
}

TYPED_TEST(SharedFilePlaceTest, MissingFileIsAnErrorThatNamesIt) {
  auto executor = this->make(1);
  const SharedFile<Numbers> numbers(Numbers{1, 2, 3}, this->directory());
  std::filesystem::remove(numbers.path());
  try {
    executor.submit(sum_of, numbers, 1).get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::system_error& error) {
    EXPECT_THAT(error.what(), HasSubstr(numbers.path().string()));
    EXPECT_THAT(error.what(), HasSubstr("on the machine "));
    EXPECT_THAT(error.what(), HasSubstr("No such file"));
  }
}

TYPED_TEST(SharedFilePlaceTest, FileThatIsNotWholeIsAnErrorThatNamesIt) {
  auto executor = this->make(1);
  const SharedFile<Numbers> numbers(Numbers{1, 2, 3}, this->directory());
  const std::uintmax_t size = std::filesystem::file_size(numbers.path());
  std::filesystem::resize_file(numbers.path(), size - 1);
  try {
    executor.submit(sum_of, numbers, 1).get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const WireError& error) {
    EXPECT_THAT(error.what(), HasSubstr(numbers.path().string()));
    EXPECT_THAT(error.what(), HasSubstr("has " + std::to_string(size - 1) + " bytes"));
  }
}

class SharedFileTest : public LeakCheckedTest {};

TEST_F(SharedFileTest, FileGoesWithTheLastHandleOfItsProcess) {
  const TemporaryDirectory directory("shared_file");
  std::filesystem::path path;
  {
    SharedFile<Numbers> copy;
    {
      const SharedFile<Numbers> numbers(Numbers{1}, directory.path());
      path = numbers.path();
      copy = numbers;
    }
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    // A process that is forked off, and one that has it as an argument, leave it where it is.
    Process forked(tandem::fork, [copy]() mutable { copy = {}; });
    forked.start();
    forked.join();
    ProcessExecutor executor(1);
    EXPECT_EQ(executor.submit(sum_of, copy, 1).get(), 2);
    executor.shutdown();
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(SharedFileTest, WhatCannotBeWrittenIsRefused) {
  const TemporaryDirectory directory("shared_file");
  try {
    const SharedFile<int> file(1, directory.path() / "missing");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::system_error& error) {
    EXPECT_THAT(error.what(), HasSubstr((directory.path() / "missing").string()));
  }
  EXPECT_THROW(SharedFile<Event>(Event(), directory.path()), WireError) << "a handle means nothing in a file";
  EXPECT_EQ(files_in(directory.path()), 0u);
  EXPECT_THROW(static_cast<void>(SharedFile<int>().get()), StaleHandle);
}

}  // namespace
}  // namespace tandem::testing
