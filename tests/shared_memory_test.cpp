// Memory with a name, in one process: making, attaching, removing, and what is refused.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <tandem/error.hpp>
#include <tandem/shared_memory.hpp>
#include <tandem/wire.hpp>

#include "ipc/segment.hpp"
#include "support/round_trip.hpp"
#include "support/shared_memory_fixture.hpp"

namespace tandem::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::SizeIs;
using ::testing::Throws;
using ::testing::ThrowsMessage;

class SharedMemoryTest : public LeakCheckedTest {
 protected:
  const std::string name_ = unique_name("memory");
};

// What must throw a std::system_error with this code and a text that has the given parts.
template <class Action>
std::string text_of_error(int code, Action action) {
  try {
    action();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

// SHM-01
TEST_F(SharedMemoryTest, HasTheNameAndTheSizeThatWereAskedForAndIsZero) {
  for (const std::size_t size : {1u, 100u, 4096u, 100'000u}) {
    const SharedMemory memory = SharedMemory::create(name_, size);
    EXPECT_EQ(memory.name(), name_);
    EXPECT_EQ(memory.size_bytes(), size);
    EXPECT_THAT(memory.data(), AllOf(SizeIs(size), Each(std::byte{0})));
    EXPECT_TRUE(memory.is_owner());
  }
}

// SHM-01
TEST_F(SharedMemoryTest, WhoAttachesByNameSeesTheSameBytesAndSize) {
  const SharedMemory memory = SharedMemory::create(name_, 5000);
  const SharedMemory attached = SharedMemory::attach(name_);
  EXPECT_EQ(attached.size_bytes(), 5000u);
  EXPECT_EQ(attached.name(), name_);
  EXPECT_FALSE(attached.is_owner());
  EXPECT_NE(attached.data().data(), memory.data().data());
  memory.data()[4999] = std::byte{7};
  EXPECT_EQ(attached.data()[4999], std::byte{7});
  attached.data()[0] = std::byte{8};
  EXPECT_EQ(memory.data()[0], std::byte{8});
  EXPECT_EQ(attached, memory);
}

// SHM-01
TEST_F(SharedMemoryTest, ATakenNameIsRefusedAndItsMemoryLeftAlone) {
  const SharedMemory memory = SharedMemory::create(name_, 100);
  memory.data()[0] = std::byte{1};
  EXPECT_THAT(text_of_error(EEXIST, [&] { static_cast<void>(SharedMemory::create(name_, 200)); }),
              AllOf(HasSubstr("\"" + name_ + "\""), HasSubstr("the name is taken")));
  EXPECT_EQ(SharedMemory::attach(name_).data()[0], std::byte{1});
}

// SHM-01
TEST_F(SharedMemoryTest, ANameThatIsNotThereIsAnErrorThatNamesIt) {
  EXPECT_THAT(text_of_error(ENOENT, [&] { static_cast<void>(SharedMemory::attach(name_)); }), HasSubstr(name_));
  EXPECT_THAT(text_of_error(ENOENT, [&] { SharedMemory::unlink(name_); }), HasSubstr(name_));
}

// SHM-01
TEST_F(SharedMemoryTest, ASecondUnlinkIsAnError) {
  const SharedMemory memory = SharedMemory::create(name_, 100);
  SharedMemory::unlink(name_);
  text_of_error(ENOENT, [&] { SharedMemory::unlink(name_); });
}

TEST_F(SharedMemoryTest, TheNameGoesWithTheOwnersLastCopy) {
  SharedMemory memory = SharedMemory::create(name_, 100);
  {
    const SharedMemory copy = memory;
    memory.close();
    EXPECT_FALSE(memory);
    EXPECT_TRUE(can_attach(name_));
    EXPECT_TRUE(copy.is_owner());
  }
  EXPECT_FALSE(memory_exists(name_));
}

// RES-15
TEST_F(SharedMemoryTest, TheMemoryStaysUntilTheLastOneLetsGo) {
  SharedMemory memory = SharedMemory::create(name_, 100);
  SharedMemory attached = SharedMemory::attach(name_);
  memory.data()[3] = std::byte{3};
  memory.close();
  EXPECT_FALSE(can_attach(name_));
  EXPECT_EQ(attached.data()[3], std::byte{3});
  attached.data()[3] = std::byte{4};
  EXPECT_EQ(attached.data()[3], std::byte{4});
}

TEST_F(SharedMemoryTest, WhatWasUnlinkedStaysWithWhoHasItAndTheNameIsFree) {
  const SharedMemory old = SharedMemory::create(name_, 100);
  SharedMemory::unlink(name_);
  {
    const SharedMemory anew = SharedMemory::create(name_, 200);
    EXPECT_NE(old, anew);
    old.data()[0] = std::byte{1};
    EXPECT_EQ(anew.data()[0], std::byte{0});
  }
  EXPECT_FALSE(memory_exists(name_));
}

TEST_F(SharedMemoryTest, AnOwnerWhoseNameIsAnothersByNowDoesNotRemoveIt) {
  SharedMemory old = SharedMemory::create(name_, 100);
  SharedMemory::unlink(name_);
  const SharedMemory anew = SharedMemory::create(name_, 200);
  old.close();
  EXPECT_EQ(SharedMemory::attach(name_), anew);
}

// SHM-16
TEST_F(SharedMemoryTest, WhoAdoptsTheNameKeepsItAndRemovesItAtTheEnd) {
  SharedMemory memory = SharedMemory::create(name_, 100);
  SharedMemory attached = SharedMemory::attach(name_);
  EXPECT_TRUE(attached.adopt());
  EXPECT_TRUE(attached.adopt());
  EXPECT_TRUE(attached.is_owner());
  memory.close();
  EXPECT_TRUE(can_attach(name_));
  attached.close();
  EXPECT_FALSE(memory_exists(name_));
}

TEST_F(SharedMemoryTest, ANameThatIsGoneCannotBeAdopted) {
  SharedMemory memory = SharedMemory::create(name_, 100);
  SharedMemory attached = SharedMemory::attach(name_);
  SharedMemory::unlink(name_);
  EXPECT_FALSE(attached.adopt());
  const SharedMemory anew = SharedMemory::create(name_, 100);
  EXPECT_FALSE(attached.adopt());
  EXPECT_FALSE(attached.is_owner());
}

// SHM-03
TEST_F(SharedMemoryTest, AGeneratedNameThatIsTakenIsReplacedByAnother) {
  const SharedMemory taken = SharedMemory::create(name_, 100);
  int asked = 0;
  const auto made =
      detail::Segment::create_with_free_name([&] { return ++asked <= 2 ? name_ : unique_name("another"); }, 100);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(made->name(), unique_name("another"));
}

// SHM-01
TEST_F(SharedMemoryTest, AGeneratedNameCanBeToldToOthers) {
  const SharedMemory one = SharedMemory::create(100), two = SharedMemory::create(100);
  EXPECT_THAT(one.name(), MatchesRegex("[0-9a-f]{16}"));
  EXPECT_NE(one.name(), two.name());
  EXPECT_EQ(SharedMemory::attach(one.name()), one);
}

// SHM-02
TEST_F(SharedMemoryTest, ANameWithANulIsRefused) {
  const std::string name = name_ + std::string("\0x", 2);
  const auto refused = ThrowsMessage<std::invalid_argument>(HasSubstr("NUL"));
  EXPECT_THAT([&] { static_cast<void>(SharedMemory::create(name, 100)); }, refused);
  EXPECT_THAT([&] { static_cast<void>(SharedMemory::attach(name)); }, refused);
  EXPECT_THAT([&] { SharedMemory::unlink(name); }, refused);
  EXPECT_FALSE(memory_exists(name_));
}

TEST_F(SharedMemoryTest, ANameThatNoFileCanHaveIsRefused) {
  for (const std::string& name : {std::string(), std::string("a/b"), std::string("/a"), std::string(242, 'x')}) {
    EXPECT_THAT([&] { static_cast<void>(SharedMemory::create(name, 100)); }, Throws<std::invalid_argument>()) << name;
    EXPECT_THAT([&] { static_cast<void>(SharedMemory::attach(name)); }, Throws<std::invalid_argument>()) << name;
    EXPECT_THAT([&] { SharedMemory::unlink(name); }, Throws<std::invalid_argument>()) << name;
  }
}

// RES-06
TEST_F(SharedMemoryTest, TheLongestNameWorksAndALongerOneIsRefused) {
  std::string name = name_;
  name.resize(241, 'x');
  const SharedMemory memory = SharedMemory::create(name, 100);
  EXPECT_TRUE(can_attach(name));
  EXPECT_THAT([&] { static_cast<void>(SharedMemory::create(name + "x", 100)); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("242 bytes, more than 241")));
}

// SHM-17
TEST_F(SharedMemoryTest, ANameMayHaveColonsNewlinesAndDots) {
  for (const char* odd : {":", "a:b:c", "\n", "a\nb", "..", " ", "\xff", "*"}) {
    const std::string name = name_ + odd;
    {
      const SharedMemory memory = SharedMemory::create(name, 100);
      SharedMemory::remove_leftovers();
      EXPECT_EQ(SharedMemory::attach(name), memory);
    }
    EXPECT_FALSE(memory_exists(name));
  }
}

// SHM-04
TEST_F(SharedMemoryTest, ASizeOfNothingOrLessIsRefused) {
  for (const std::size_t size : {std::size_t{0}, static_cast<std::size_t>(-1), static_cast<std::size_t>(-4096)}) {
    EXPECT_THAT([&] { static_cast<void>(SharedMemory::create(name_, size)); },
                ThrowsMessage<std::invalid_argument>(
                    AllOf(HasSubstr(name_), HasSubstr(std::to_string(static_cast<std::ptrdiff_t>(size))))));
    EXPECT_THAT([&] { static_cast<void>(SharedMemory::create(size)); }, Throws<std::invalid_argument>());
  }
  EXPECT_FALSE(memory_exists(name_));
}

TEST_F(SharedMemoryTest, MoreThanTheBackingStoreHoldsIsAnErrorThatNamesTheLimit) {
  EXPECT_THAT(text_of_error(ENOSPC, [&] { static_cast<void>(SharedMemory::create(name_, std::size_t{1} << 60)); }),
              AllOf(HasSubstr(name_), HasSubstr("1152921504606846976 bytes in /dev/shm"), HasSubstr("it holds ")));
  EXPECT_FALSE(memory_exists(name_));
}

TEST_F(SharedMemoryTest, AFullBackingStoreIsAnErrorBeforeAnythingIsThere) {
  const bool ran = in_private_shm(1 << 20, [] {
    const SharedMemory first = SharedMemory::create("first", 700'000);
    EXPECT_THAT(text_of_error(ENOSPC, [] { static_cast<void>(SharedMemory::create("second", 700'000)); }),
                AllOf(HasSubstr("\"second\" of 700000 bytes"), HasSubstr("it holds 1048576 bytes, of which ")));
    EXPECT_FALSE(memory_exists("second"));
    // What the failed one had reserved is back; and each byte of this one can be touched.
    const SharedMemory third = SharedMemory::create("third", 300'000);
    for (std::byte& byte : third.data()) byte = std::byte{1};
  });
  if (!ran) GTEST_SKIP() << "this needs the right to mount";
}

TEST_F(SharedMemoryTest, ALimitOnFileSizesIsAnErrorAndNoSignal) {
  const int status = status_of_forked([&] {
    const rlimit limit{1000, RLIM_INFINITY};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_THAT(text_of_error(EFBIG, [&] { static_cast<void>(SharedMemory::create(name_, 1001)); }),
                HasSubstr("RLIMIT_FSIZE) is 1000"));
    EXPECT_EQ(SharedMemory::create(name_, 1000).size_bytes(), 1000u);
  });
  EXPECT_EQ(status, 0);
}

TEST_F(SharedMemoryTest, WhatIsNotTandemsIsNeitherAttachedNorRemoved) {
  const std::string path = path_of_memory(name_);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  text_of_error(EINVAL, [&] { static_cast<void>(SharedMemory::attach(name_)); });
  text_of_error(EEXIST, [&] { static_cast<void>(SharedMemory::create(name_, 100)); });
  EXPECT_TRUE(memory_exists(name_));
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/etc/passwd", path);
  text_of_error(ELOOP, [&] { static_cast<void>(SharedMemory::attach(name_)); });
  SharedMemory::remove_leftovers();
  EXPECT_TRUE(memory_exists(name_));
  std::filesystem::remove(path);
}

TEST_F(SharedMemoryTest, AnotherUsersMemoryIsAnErrorThatNamesIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "this needs the right to be another user";
  const SharedMemory memory = SharedMemory::create(name_, 100);
  const int status = status_of_forked([&] {
    ASSERT_EQ(::setresuid(65534, 65534, 65534), 0);
    EXPECT_THAT(text_of_error(EACCES, [&] { static_cast<void>(SharedMemory::attach(name_)); }), HasSubstr(name_));
    EXPECT_THAT(text_of_error(EACCES, [&] { SharedMemory::unlink(name_); }), HasSubstr(name_));
    text_of_error(EEXIST, [&] { static_cast<void>(SharedMemory::create(name_, 100)); });
    EXPECT_EQ(SharedMemory::remove_leftovers(), 0u);
  });
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(can_attach(name_));
}

// The superuser could: but whoever may write to /dev/shm could then offer its programs what they did not make.
TEST_F(SharedMemoryTest, TheSuperuserDoesNotTakeAnotherUsersMemoryForItsOwn) {
  if (::geteuid() != 0) GTEST_SKIP() << "this needs the right to be another user";
  const WaitingProcess owner([&] {
    ASSERT_EQ(::setresuid(65534, 65534, 65534), 0);
    static SharedMemory memory;
    memory = SharedMemory::create(name_, 100);
  });
  EXPECT_THAT(text_of_error(EACCES, [&] { static_cast<void>(SharedMemory::attach(name_)); }), HasSubstr("65534"));
  std::filesystem::remove(path_of_memory(name_));
}

TEST_F(SharedMemoryTest, TheUmaskTakesNothingAwayFromTheOwner) {
  const mode_t before = ::umask(0777);
  {
    const SharedMemory memory = SharedMemory::create(name_, 100);
    ::umask(before);
    struct stat file{};
    ASSERT_EQ(::stat(path_of_memory(name_).c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777u, 0600u);
  }
}

TEST_F(SharedMemoryTest, ElementsAreAsManyAsFit) {
  const SharedMemory memory = SharedMemory::create(name_, 31);
  ASSERT_THAT(memory.as<double>(), SizeIs(3));
  memory.as<double>()[2] = 2.5;
  EXPECT_EQ(SharedMemory::attach(name_).as<const double>()[2], 2.5);
}

TEST_F(SharedMemoryTest, NoneIsEmpty) {
  const SharedMemory none;
  SharedMemory other;
  EXPECT_FALSE(none);
  EXPECT_TRUE(none.data().empty());
  EXPECT_TRUE(none.as<int>().empty());
  EXPECT_EQ(none.size_bytes(), 0u);
  EXPECT_FALSE(none.is_owner());
  EXPECT_EQ(none, other);
  EXPECT_THROW(static_cast<void>(none.name()), StateError);
  EXPECT_THROW(static_cast<void>(other.adopt()), StateError);
  EXPECT_FALSE(round_trip(none));
}

// SHM-06
TEST_F(SharedMemoryTest, AHandleToWhatWasRemovedOrMadeAnewIsStale) {
  const auto received = [](const detail::Encoder& encoder) {
    detail::Decoder decoder(encoder.bytes());
    return detail::decode<SharedMemory>(decoder);
  };
  SharedMemory memory = SharedMemory::create(name_, 100);
  detail::Encoder encoder;
  encoder(memory);
  EXPECT_EQ(received(encoder), memory);
  memory.close();
  EXPECT_THAT([&] { received(encoder); },
              ThrowsMessage<StaleHandle>(AllOf(HasSubstr(name_), HasSubstr("was removed"))));
  memory = SharedMemory::create(name_, 100);
  EXPECT_THAT([&] { received(encoder); }, ThrowsMessage<StaleHandle>(HasSubstr("another made")));
}

}  // namespace
}  // namespace tandem::testing
