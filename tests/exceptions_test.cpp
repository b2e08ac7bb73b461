#include "wire/exceptions.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>
#include <variant>

#include <tandem/error.hpp>

namespace somewhere {

class ParseError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
struct Odd {};

class MyCategory : public std::error_category {
 public:
  const char* name() const noexcept override { return "mine"; }
  std::string message(int) const override { return "my message"; }
};

}  // namespace somewhere

namespace {

std::exception_ptr carried(const std::exception_ptr& exception) {
  return tandem::detail::decode_exception(tandem::detail::encode_exception(exception));
}

/// Sends an exception and catches what arrives as a T, which must be its exact type.
template <class T>
T arrives(const T& exception) {
  try {
    std::rethrow_exception(carried(std::make_exception_ptr(exception)));
  } catch (const T& arrived) {
    EXPECT_TRUE(typeid(arrived) == typeid(T));
    EXPECT_STREQ(arrived.what(), exception.what());
    return arrived;
  }
}

template <class T>
tandem::RemoteError arrives_as_remote(const T& exception) {
  try {
    std::rethrow_exception(carried(std::make_exception_ptr(exception)));
  } catch (const tandem::RemoteError& arrived) {
    return arrived;
  }
}

TEST(ExceptionsTest, StandardTypesArriveAsThemselves) {
  arrives(std::runtime_error("text"));
  arrives(std::logic_error("text"));
  arrives(std::invalid_argument(""));
  arrives(std::domain_error("text"));
  arrives(std::length_error("text"));
  arrives(std::out_of_range("text"));
  arrives(std::range_error("text"));
  arrives(std::overflow_error("text"));
  arrives(std::underflow_error("text"));
  arrives(std::exception());
  arrives(std::bad_alloc());
  arrives(std::bad_array_new_length());
  arrives(std::bad_cast());
  arrives(std::bad_typeid());
  arrives(std::bad_function_call());
  arrives(std::bad_weak_ptr());
  arrives(std::bad_optional_access());
  arrives(std::bad_variant_access());
  EXPECT_EQ(arrives(std::regex_error(std::regex_constants::error_paren)).code(), std::regex_constants::error_paren);
}

TEST(ExceptionsTest, ErrorCodesArrive) {
  const std::error_code code = std::make_error_code(std::errc::no_such_file_or_directory);
  EXPECT_EQ(arrives(std::system_error(code, "cannot open")).code(), code);
  EXPECT_EQ(arrives(std::system_error(code)).code(), code);
  EXPECT_EQ(arrives(std::system_error(EIO, std::system_category(), "disk")).code().category(), std::system_category());
  EXPECT_EQ(arrives(std::ios_base::failure("stream")).code(), std::make_error_code(std::io_errc::stream));
  EXPECT_EQ(arrives(std::future_error(std::future_errc::no_state)).code(), std::future_errc::no_state);
  const auto file = arrives(std::filesystem::filesystem_error("cannot copy", "/a", "/b", code));
  EXPECT_EQ(file.path1(), "/a");
  EXPECT_EQ(file.path2(), "/b");
  EXPECT_EQ(file.code(), code);
}

TEST(ExceptionsTest, TandemsTypesArriveAsThemselves) {
  arrives(tandem::Error("text"));
  arrives(tandem::QueueClosed("text"));
  arrives(tandem::StaleHandle("text"));
  arrives(tandem::WireError("text"));
  arrives(tandem::StateError("text"));
  arrives(tandem::NotInitialized("text"));
  EXPECT_EQ(arrives(tandem::RemoteError("my::Type", "text")).type_name(), "my::Type");
  try {
    std::rethrow_exception(carried(std::make_exception_ptr(tandem::ExitRequest(5))));
  } catch (const tandem::ExitRequest& request) {
    EXPECT_EQ(request.code(), 5);
  }
}

TEST(ExceptionsTest, OtherTypesArriveAsRemoteErrorWithNameAndText) {
  const auto error = arrives_as_remote(somewhere::ParseError("line 3"));
  EXPECT_EQ(error.type_name(), "somewhere::ParseError");
  EXPECT_STREQ(error.what(), "somewhere::ParseError: line 3");
  EXPECT_EQ(arrives_as_remote(somewhere::Odd()).type_name(), "somewhere::Odd");
  EXPECT_STREQ(arrives_as_remote(42).what(), "int: 42");
  EXPECT_STREQ(arrives_as_remote(std::string("text")).what(), "std::string: text");
  EXPECT_STREQ(arrives_as_remote("text").what(), "char const*: text");
}

TEST(ExceptionsTest, AnErrorOfAnUnknownCategoryKeepsItsText) {
  static const somewhere::MyCategory category;
  const auto error = arrives_as_remote(std::system_error(3, category, "what"));
  EXPECT_STREQ(error.what(), "std::system_error: what: my message");
}

TEST(ExceptionsTest, NoExceptionArrivesAsNone) {
  EXPECT_EQ(carried(nullptr), nullptr);
}

TEST(ExceptionsTest, BytesThatAreNoExceptionAreAnError) {
  auto bytes = tandem::detail::encode_exception(std::make_exception_ptr(std::runtime_error("text")));
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW(tandem::detail::decode_exception(std::span(bytes).first(size)), tandem::WireError);
  bytes.push_back(std::byte{0});
  EXPECT_THROW(tandem::detail::decode_exception(bytes), tandem::WireError);
}

}  // namespace
