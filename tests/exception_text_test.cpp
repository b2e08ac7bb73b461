#include "core/exception_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <future>
#include <stdexcept>
#include <string>
#include <thread>

#include "core/throw_stack.hpp"

namespace {

using tandem::detail::describe_exception;
using tandem::detail::ExceptionInfo;
using tandem::detail::ThrowStackScope;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

struct NotAStandardException {};

struct OwnError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[gnu::noinline]] void thrower_of_test(const char* what) {
  if (what != nullptr) throw OwnError(what);
  asm volatile("");
}

[[gnu::noinline]] void rethrower_of_test() {
  try {
    thrower_of_test("thrown first");
  } catch (...) {
    throw;
  }
}

template <class Body>
ExceptionInfo describe_what_leaves(Body body) {
  ThrowStackScope scope;
  try {
    scope.run(body);
  } catch (...) {
    return describe_exception(std::current_exception());
  }
  return {};
}

TEST(ExceptionTextTest, NamesTypeAndText) {
  const auto info = describe_exception(std::make_exception_ptr(std::out_of_range("no such key")));
  EXPECT_EQ(info.type_name, "std::out_of_range");
  EXPECT_EQ(info.what, "no such key");
  EXPECT_EQ(info.stack, "");
}

TEST(ExceptionTextTest, NamesTypesThatAreNoStandardExceptions) {
  EXPECT_THAT(describe_exception(std::make_exception_ptr(NotAStandardException{})).type_name,
              HasSubstr("NotAStandardException"));
  const auto text = describe_exception(std::make_exception_ptr(std::string("plain")));
  EXPECT_EQ(text.type_name, "std::string");
  EXPECT_EQ(text.what, "plain");
  const auto literal = describe_what_leaves([] { throw "literal"; });
  EXPECT_EQ(literal.type_name, "char const*");
  EXPECT_EQ(literal.what, "literal");
  EXPECT_THAT(literal.stack, HasSubstr("exception_text_test.cpp"));
  EXPECT_EQ(describe_exception(std::make_exception_ptr(42)).what, "42");
}

TEST(ExceptionTextTest, AppendsNestedExceptions) {
  const auto info = describe_what_leaves([] {
    try {
      try {
        throw std::out_of_range("key 7");
      } catch (...) {
        std::throw_with_nested(std::runtime_error("cannot load"));
      }
    } catch (...) {
      std::throw_with_nested(OwnError("cannot start"));
    }
  });
  EXPECT_EQ(info.what,
            "cannot start; caused by std::_Nested_exception<std::runtime_error>: cannot load; caused by "
            "std::out_of_range: key 7");
}

TEST(ExceptionTextTest, IsEmptyForNoException) {
  const auto info = describe_exception(nullptr);
  EXPECT_EQ(info.type_name + info.what + info.stack, "");
}

TEST(ThrowStackScopeTest, StackBeginsWhereTheExceptionWasThrown) {
  const auto info = describe_what_leaves([] { thrower_of_test("boom"); });
  EXPECT_EQ(info.what, "boom");
  EXPECT_THAT(info.stack, ContainsRegex("^#0 [^\n]*thrower_of_test[^\n]* at [^\n]*exception_text_test.cpp:[0-9]+\n"));
  EXPECT_THAT(info.stack, Not(HasSubstr("thrown again")));
}

TEST(ThrowStackScopeTest, LibraryThrowsBeginAtTheirCaller) {
  const auto info = describe_what_leaves([] { static_cast<void>(std::string("x").substr(2)); });
  EXPECT_EQ(info.type_name, "std::out_of_range");
  EXPECT_THAT(info.stack, Not(HasSubstr("__throw_")));
  EXPECT_THAT(info.stack, HasSubstr("exception_text_test.cpp"));
}

TEST(ThrowStackScopeTest, SaysSoWhenTheExceptionWasThrownAgain) {
  const auto info = describe_what_leaves([] { rethrower_of_test(); });
  EXPECT_THAT(info.stack, ContainsRegex("^#0 [^\n]*rethrower_of_test"));
  EXPECT_THAT(info.stack, HasSubstr("(thrown again at #0"));
}

TEST(ThrowStackScopeTest, FollowsAnExceptionRethrownFromAnotherThread) {
  const auto info = describe_what_leaves([] {
    std::exception_ptr carried;
    std::thread([&] {
      try {
        thrower_of_test("elsewhere");
      } catch (...) {
        carried = std::current_exception();
      }
    }).join();
    std::rethrow_exception(carried);
  });
  EXPECT_EQ(info.what, "elsewhere");
  EXPECT_THAT(info.stack, HasSubstr("(thrown again at #0"));
}

TEST(ThrowStackScopeTest, ExceptionsCaughtWithinAreNotMistakenForTheOneThatLeaves) {
  const auto info = describe_what_leaves([] {
    for (int i = 0; i < 3; ++i) {
      try {
        rethrower_of_test();
      } catch (const OwnError&) {
      }
    }
    thrower_of_test("the last");
  });
  EXPECT_EQ(info.what, "the last");
  EXPECT_THAT(info.stack, Not(HasSubstr("rethrower_of_test")));
}

TEST(ThrowStackScopeTest, CleanUpThatThrowsAndCatchesDoesNotDisturb) {
  struct Cleaner {
    ~Cleaner() {
      const auto inner = describe_what_leaves([] { rethrower_of_test(); });
      EXPECT_THAT(inner.stack, HasSubstr("rethrower_of_test"));
    }
  };
  const auto info = describe_what_leaves([] {
    Cleaner cleaner;
    thrower_of_test("outer");
  });
  EXPECT_EQ(info.what, "outer");
  EXPECT_THAT(info.stack, ContainsRegex("^#0 [^\n]*thrower_of_test"));
  EXPECT_THAT(info.stack, Not(HasSubstr("rethrower_of_test")));
}

TEST(ThrowStackScopeTest, AnExceptionThatLeavesTwoScopesKeepsItsStack) {
  const auto info = describe_what_leaves([] {
    ThrowStackScope inner;
    inner.run([] { thrower_of_test("through two"); });
  });
  EXPECT_THAT(info.stack, ContainsRegex("^#0 [^\n]*thrower_of_test"));
}

TEST(ThrowStackScopeTest, AnExceptionThatLeftNoScopeHasNoStack) {
  try {
    thrower_of_test("plain");
  } catch (...) {
    EXPECT_EQ(describe_exception(std::current_exception()).stack, "");
  }
}

TEST(ThrowStackScopeTest, ThreadsDoNotSeeEachOthersStacks) {
  const auto failures = [](auto body) {
    int count = 0;
    for (int i = 0; i < 50; ++i) {
      const auto info = describe_what_leaves(body);
      if (info.stack.find("thrower_of_test") == std::string::npos) ++count;
    }
    return count;
  };
  auto one = std::async(std::launch::async, failures, [] { thrower_of_test("one"); });
  auto two = std::async(std::launch::async, failures, [] { rethrower_of_test(); });
  EXPECT_EQ(one.get() + two.get(), 0);
}

TEST(ThrowStackScopeTest, LetsAThreadEndItselfWithin) {
  pthread_t thread;
  bool cleaned = false;
  pthread_create(
      &thread, nullptr,
      [](void* flag) -> void* {
        struct Cleaner {
          bool* flag;
          ~Cleaner() { *flag = true; }
        };
        ThrowStackScope scope;
        scope.run([&] {
          Cleaner cleaner{static_cast<bool*>(flag)};
          pthread_exit(nullptr);
        });
        return nullptr;
      },
      &cleaned);
  pthread_join(thread, nullptr);
  EXPECT_TRUE(cleaned);
}

}  // namespace
