#include <tandem/callable.hpp>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include "support/temporary_directory.hpp"
#include "wire/code_address.hpp"

namespace {

using tandem::PortableCallable;
using tandem::WireError;
using tandem::detail::Decoder;
using tandem::detail::encode_call;
using tandem::detail::Encoder;
using tandem::detail::run_call;
using tandem::testing::TemporaryDirectory;
namespace fs = std::filesystem;

template <class F, class... Args>
int call_through_wire(F&& callable, Args&&... arguments) {
  Encoder encoder;
  encode_call<F, Args...>(encoder, callable, std::forward<Args>(arguments)...);
  Decoder decoder(encoder.bytes());
  return run_call(decoder);
}

int add(int a, int b) {
  return a + b;
}
int size_of(const std::string& text) {
  return static_cast<int>(text.size());
}
int consume(std::vector<int>&& numbers) {
  return static_cast<int>(numbers.size());
}
int apply(int (*function)(int, int), int a, int b) {
  return function(a, b);
}
template <class T>
int twice(T value) {
  return static_cast<int>(value * 2);
}

struct Add {
  int amount;
  int operator()(int value) const { return value + amount; }
};

struct AddAll {
  std::vector<int> amounts;
  int operator()() const {
    int total = 0;
    for (int amount : amounts) total += amount;
    return total;
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(amounts);
  }
};

TEST(CallableTest, FunctionsTravel) {
  EXPECT_EQ(call_through_wire(add, 1, 2), 3);
  EXPECT_EQ(call_through_wire(&add, 1, 2), 3);
  EXPECT_EQ(call_through_wire(twice<long>, 21), 42);
  EXPECT_EQ(call_through_wire(size_of, std::string("four")), 4);
  EXPECT_EQ(call_through_wire(consume, std::vector<int>(5)), 5);
}

TEST(CallableTest, ObjectsWithoutStateTravel) {
  EXPECT_EQ(call_through_wire([](int a) { return a + 1; }, 1), 2);
  EXPECT_EQ(call_through_wire([](auto a, auto b) { return int(a + b); }, 1, 2.0), 3);
  EXPECT_EQ(call_through_wire(std::plus<int>(), 1, 2), 3);
}

TEST(CallableTest, ObjectsWithATransportRuleTravel) {
  EXPECT_EQ(call_through_wire(Add{3}, 4), 7);
  EXPECT_EQ(call_through_wire(AddAll{{1, 2, 3}}), 6);
}

TEST(CallableTest, AFunctionTravelsAsAnArgument) {
  EXPECT_EQ(call_through_wire(apply, add, 4, 5), 9);
}

TEST(CallableTest, TheStopTokenComesFirstIfItIsWanted) {
  Encoder encoder;
  const auto body = [](std::stop_token token, int value) { return token.stop_requested() ? value : 0; };
  encode_call<decltype(body), int>(encoder, body, 5);
  std::stop_source source;
  source.request_stop();
  Decoder decoder(encoder.bytes());
  EXPECT_EQ(run_call(decoder, source.get_token()), 5);
}

TEST(CallableTest, TheResultIsAnExitCodeIfItIsAnIntOrABool) {
  EXPECT_EQ(call_through_wire([] { return 7; }), 7);
  EXPECT_EQ(call_through_wire([] { return true; }), 1);
  EXPECT_EQ(call_through_wire([] { return false; }), 0);
  EXPECT_EQ(call_through_wire([] {}), 0);
  EXPECT_EQ(call_through_wire([] { return std::string("seven"); }), 0);
  EXPECT_EQ(call_through_wire([] { return 1L << 40; }), 0);
}

TEST(CallableTest, WhatItThrowsPasses) {
  EXPECT_THROW(call_through_wire([] { throw std::out_of_range("far"); }), std::out_of_range);
}

TEST(CallableTest, ANullFunctionIsRefusedWhenSent) {
  int (*null)(int, int) = nullptr;
  EXPECT_THROW(call_through_wire(null, 1, 2), WireError);
  EXPECT_THROW(call_through_wire(apply, null, 1, 2), WireError);
}

TEST(CallableTest, OnlyWhatCanTravelIsPortable) {
  int number = 0;
  const auto by_reference = [&number] { ++number; };
  const auto by_value = [number] { return number; };
  by_reference();
  EXPECT_EQ(by_value(), 0);
  static_assert(!PortableCallable<decltype(by_reference)>);
  static_assert(!PortableCallable<decltype(by_value)>);
  static_assert(!PortableCallable<std::function<void()>>);
  static_assert(!PortableCallable<int (Add::*)(int) const>);
  static_assert(!PortableCallable<int>);
  static_assert(PortableCallable<decltype(add)> && PortableCallable<decltype(&add)> && PortableCallable<Add>);
}

TEST(CallableTest, AnAddressOutsideOfTheModulesCodeIsRefused) {
  auto address = tandem::detail::code_address_of(reinterpret_cast<const void*>(&add));
  EXPECT_EQ(tandem::detail::find_code(address), reinterpret_cast<void*>(&add));
  EXPECT_TRUE(address.in_program);
  EXPECT_EQ(address.module, fs::read_symlink("/proc/self/exe"));
  address.offset = ~std::uint64_t{0} / 2;
  EXPECT_THROW(tandem::detail::find_code(address), WireError);
  static int data = 0;
  EXPECT_THROW(tandem::detail::code_address_of(&data), WireError);
}

TEST(CallableTest, AProgramOfAnotherBuildIsNamedWithBothBuilds) {
  auto address = tandem::detail::code_address_of(reinterpret_cast<const void*>(&add));
  address.build_id[0] ^= std::byte{0xff};
  address.module = "/elsewhere/program";
  try {
    tandem::detail::find_code(address);
    FAIL();
  } catch (const WireError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("/elsewhere/program"), text.npos) << text;
    EXPECT_NE(text.find(fs::read_symlink("/proc/self/exe").native()), text.npos) << text;
    EXPECT_NE(text.find("(build-id "), text.rfind("build-id ")) << text;
  }
}

// --- Functions in shared libraries
// ------------------------------------------------------------------------------------

fs::path library_path(const std::string& name) {
  return fs::read_symlink("/proc/self/exe").parent_path() / (name + ".so");
}

/// A library loaded for as long as this lives.
class Library {
 public:
  explicit Library(const fs::path& path) : handle_(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) throw std::runtime_error(::dlerror());
  }
  ~Library() { ::dlclose(handle_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  std::vector<std::byte> encoded_call() const {
    const auto encode = reinterpret_cast<void (*)(Encoder&, const char*, int)>(::dlsym(handle_, "encode_length_call"));
    Encoder encoder;
    encode(encoder, "12345", 2);
    return {encoder.bytes().begin(), encoder.bytes().end()};
  }
  std::uintptr_t base() const {
    link_map* map = nullptr;
    ::dlinfo(handle_, RTLD_DI_LINKMAP, &map);
    return map->l_addr;
  }

 private:
  void* handle_;
};

bool is_loaded(const fs::path& path) {
  void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (handle != nullptr) ::dlclose(handle);
  return handle != nullptr;
}

/// Encodes a call in another process, which loads the library; this one need not have it.
std::vector<std::byte> encoded_elsewhere(const fs::path& path) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto bytes = Library(path).encoded_call();
    ::_exit(::write(ends[1], bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::vector<std::byte> bytes(4096);
  const ssize_t size = ::read(ends[0], bytes.data(), bytes.size());
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (size <= 0 || status != 0) throw std::runtime_error("the other process failed");
  bytes.resize(static_cast<std::size_t>(size));
  return bytes;
}

int run(const std::vector<std::byte>& bytes) {
  Decoder decoder(bytes);
  return run_call(decoder);
}

class CallableLibraryTest : public ::testing::TestWithParam<const char*> {};

TEST_P(CallableLibraryTest, AFunctionIsFoundWhereverTheLibraryIsLoaded) {
  const fs::path path = library_path(GetParam());
  auto library = std::make_optional<Library>(path);
  const std::uintptr_t first_base = library->base();
  const auto bytes = library->encoded_call();
  EXPECT_EQ(run(bytes), 10);

  library.reset();
  if (is_loaded(path)) GTEST_SKIP() << "the library cannot be unloaded in this build";
  // Its place is taken, so that it must be loaded elsewhere.
  const std::size_t size = 1 << 20;
  void* const taken = ::mmap(reinterpret_cast<void*>(first_base), size, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  library.emplace(path);
  EXPECT_EQ(run(bytes), 10);
  if (taken != MAP_FAILED) {
    EXPECT_NE(library->base(), first_base);
    ::munmap(taken, size);
  }
}

// STM-23: nothing in main() has to run again, or to have run, for a worker to find what it is to do.
TEST_P(CallableLibraryTest, ALibraryThatIsNotLoadedIsLoaded) {
  const fs::path path = library_path(GetParam());
  const auto bytes = encoded_elsewhere(path);
  ASSERT_FALSE(is_loaded(path));
  EXPECT_EQ(run(bytes), 10);
  EXPECT_TRUE(is_loaded(path));
}

INSTANTIATE_TEST_SUITE_P(Builds, CallableLibraryTest,
                         ::testing::Values("callable_library", "callable_library_without_build_id"),
                         [](const auto& build) { return std::string(build.param); });

TEST(CallableTest, ALibraryThatIsGoneIsNamed) {
  const TemporaryDirectory directory("callable");
  const fs::path path = directory.path() / "gone.so";
  fs::copy_file(library_path("callable_library_other_build"), path);
  const auto bytes = encoded_elsewhere(path);
  fs::remove(path);
  try {
    run(bytes);
    FAIL();
  } catch (const WireError& error) {
    EXPECT_NE(std::string(error.what()).find(path.native()), std::string::npos) << error.what();
  }
}

TEST(CallableTest, ALibraryOfAnotherBuildIsNamedWithBothBuilds) {
  const TemporaryDirectory directory("callable");
  const fs::path path = directory.path() / "other.so";
  fs::copy_file(library_path("callable_library"), path);
  const auto bytes = encoded_elsewhere(path);
  fs::remove(path);
  fs::copy_file(library_path("callable_library_other_build"), path);
  try {
    run(bytes);
    ADD_FAILURE();
  } catch (const WireError& error) {
    const std::string text = error.what();
    const std::size_t first = text.find("build-id ");
    ASSERT_NE(first, text.npos) << text;
    const std::size_t second = text.find("build-id ", first + 1);
    ASSERT_NE(second, text.npos) << text;
    EXPECT_NE(text.substr(first, 49), text.substr(second, 49)) << text;
    EXPECT_NE(text.find(path.native()), text.npos) << text;
  }
}

}  // namespace
