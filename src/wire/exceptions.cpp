#include "wire/exceptions.hpp"

#include <cxxabi.h>

#include <any>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <typeinfo>
#include <variant>

#include <tandem/wire.hpp>

#include "core/demangle.hpp"

namespace tandem::detail {
namespace {

/// An exception on its way.
struct Record {
  std::string type;          // The linker's name, which tells types apart; empty for no exception.
  std::string text;          // What its constructor takes as text.
  std::string category;      // Of its error code.
  std::int64_t code = 0;     // Or the limit of OutOfMemory.
  std::string path1, path2;  // Of std::filesystem::filesystem_error. The first: the peak of OutOfMemory, in digits.

  template <class Archive>
  void serialize(Archive& archive) {
    archive(type, text, category, code, path1, path2);
  }
};

// Types that are made from their text alone.
using TextTypes =
    std::tuple<std::runtime_error, std::logic_error, std::invalid_argument, std::domain_error, std::length_error,
               std::out_of_range, std::range_error, std::overflow_error, std::underflow_error, Error, QueueClosed,
               StaleHandle, WireError, StateError, NotInitialized, ExecutorShutDown, BrokenExecutor, BacklogFull,
               TaskCancelled, DeadlineExceeded, CpuTimeExceeded>;
// Types whose text is always the same.
using PlainTypes = std::tuple<std::exception, std::bad_exception, std::bad_alloc, std::bad_array_new_length,
                              std::bad_cast, std::bad_typeid, std::bad_function_call, std::bad_weak_ptr,
                              std::bad_optional_access, std::bad_variant_access, std::bad_any_cast>;

/// Calls `make(type)` for the type of the tuple that has this linker's name.
template <class... Ts, class Make>
std::exception_ptr make_one_of(std::tuple<Ts...>*, const std::string& name, Make make) {
  std::exception_ptr made;
  static_cast<void>(((name == typeid(Ts).name() && (made = make(std::type_identity<Ts>()), true)) || ...));
  return made;
}

const std::error_category* category_named(std::string_view name) {
  for (const std::error_category* category :
       {&std::generic_category(), &std::system_category(), &std::iostream_category(), &std::future_category()})
    if (name == category->name()) return category;
  return nullptr;
}

/// The text without what the exception's own constructor will add to it.
std::string without(std::string text, std::string_view prefix, const std::string& suffix) {
  if (text.starts_with(prefix)) text.erase(0, prefix.size());
  if (text.ends_with(suffix)) text.erase(text.size() - suffix.size());
  return text;
}

void describe_code(Record& record, const std::system_error& error) {
  record.category = error.code().category().name();
  record.code = error.code().value();
  if (category_named(record.category) == nullptr) return;  // Cannot be made again: the text says it all.
  // Asked of the base class: a filesystem_error would add its paths.
  const std::string message = error.code().message();
  const std::string text = error.std::system_error::what();
  record.text = text == message ? std::string() : without(text, "", ": " + message);
}

void describe(Record& record, const std::exception& error) {
  record.type = typeid(error).name();
  record.text = error.what();
  if (typeid(error) == typeid(std::system_error) || typeid(error) == typeid(std::ios_base::failure) ||
      typeid(error) == typeid(std::filesystem::filesystem_error))
    describe_code(record, dynamic_cast<const std::system_error&>(error));
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error)) {
    record.path1 = file->path1().native();
    record.path2 = file->path2().native();
  } else if (const auto* future = dynamic_cast<const std::future_error*>(&error)) {
    record.code = future->code().value();
  } else if (const auto* regex = dynamic_cast<const std::regex_error*>(&error)) {
    record.code = regex->code();
  } else if (const auto* memory = dynamic_cast<const OutOfMemory*>(&error)) {
    record.code = static_cast<std::int64_t>(memory->limit_bytes());
    record.path1 = std::to_string(memory->peak_bytes());
  } else if (const auto* remote = dynamic_cast<const RemoteError*>(&error)) {
    // It may have come a long way already: its first type is what matters.
    record.type = typeid(RemoteError).name();
    record.category = remote->type_name();
    record.text = without(record.text, remote->type_name() + ": ", "");
  }
}

Record describe(const std::exception_ptr& exception) {
  Record record;
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    describe(record, error);
  } catch (const ExitRequest& request) {
    record.type = typeid(request).name();
    record.code = request.code();
  } catch (...) {
    // The texts of the few types that people throw without a class of their own.
    const std::type_info* type = abi::__cxa_current_exception_type();
    record.type = type == nullptr ? "an exception of another language" : type->name();
    try {
      throw;
    } catch (const std::string& text) {
      record.text = text;
    } catch (const char* text) {
      record.text = text == nullptr ? "" : text;
    } catch (int value) {
      record.text = std::to_string(value);
    } catch (...) {
      record.text = "not derived from std::exception";
    }
  }
  return record;
}

std::exception_ptr make_system_error(const Record& record) {
  const std::error_category* category = category_named(record.category);
  if (category == nullptr) return nullptr;
  const std::error_code code(static_cast<int>(record.code), *category);
  if (record.type == typeid(std::ios_base::failure).name())
    return std::make_exception_ptr(std::ios_base::failure(record.text, code));
  if (record.type == typeid(std::filesystem::filesystem_error).name())
    return std::make_exception_ptr(std::filesystem::filesystem_error(record.text, record.path1, record.path2, code));
  return std::make_exception_ptr(record.text.empty() ? std::system_error(code) : std::system_error(code, record.text));
}

std::exception_ptr make(const Record& record) {
  const auto is = [&](const std::type_info& type) { return record.type == type.name(); };
  if (record.type.empty()) return nullptr;
  std::exception_ptr made;
  if (is(typeid(std::system_error)) || is(typeid(std::ios_base::failure)) ||
      is(typeid(std::filesystem::filesystem_error)))
    made = make_system_error(record);
  else if (is(typeid(std::future_error)))
    made = std::make_exception_ptr(std::future_error(static_cast<std::future_errc>(record.code)));
  else if (is(typeid(std::regex_error)))
    made = std::make_exception_ptr(std::regex_error(static_cast<std::regex_constants::error_type>(record.code)));
  else if (is(typeid(ExitRequest)))
    made = std::make_exception_ptr(ExitRequest(static_cast<int>(record.code)));
  else if (is(typeid(OutOfMemory)))
    made = std::make_exception_ptr(OutOfMemory(record.text, static_cast<std::uint64_t>(record.code),
                                               std::strtoull(record.path1.c_str(), nullptr, 10)));
  else if (is(typeid(RemoteError)))
    made = std::make_exception_ptr(RemoteError(record.category, record.text));
  if (made == nullptr)
    made = make_one_of(static_cast<TextTypes*>(nullptr), record.type,
                       [&]<class T>(std::type_identity<T>) { return std::make_exception_ptr(T(record.text)); });
  if (made == nullptr)
    made = make_one_of(static_cast<PlainTypes*>(nullptr), record.type,
                       []<class T>(std::type_identity<T>) { return std::make_exception_ptr(T()); });
  return made != nullptr ? made : std::make_exception_ptr(RemoteError(demangle(record.type.c_str()), record.text));
}

}  // namespace

std::vector<std::byte> encode_exception(const std::exception_ptr& exception) {
  Encoder encoder;
  encode(encoder, exception == nullptr ? Record() : describe(exception));
  const auto bytes = encoder.bytes();
  return {bytes.begin(), bytes.end()};
}

std::exception_ptr decode_exception(std::span<const std::byte> bytes) {
  Decoder decoder(bytes);
  const auto record = decode<Record>(decoder);
  decoder.expect_end();
  return make(record);
}

}  // namespace tandem::detail
