#include <tandem/detail/remote_task.hpp>

#include <cstring>
#include <new>
#include <string>
#include <unordered_map>
#include <utility>

#include <tandem/error.hpp>

#include "core/check.hpp"
#include "core/mutex.hpp"
#include "executor/code_numbers.hpp"
#include "process/limits.hpp"
#include "wire/exceptions.hpp"

namespace tandem::detail {
namespace {

/// What a thread keeps so that its tasks are encoded without a new block each.
struct ThreadEncoder {
  Encoder encoder;
  bool in_use = false;
};
ThreadEncoder& thread_encoder() {
  static thread_local ThreadEncoder made;
  return made;
}
// More is given back: it was for one big task.
constexpr std::size_t kMostKeptBytes = 4 * 1024 * 1024;

/// All functions that were ever sent; never destroyed, since a task may be made at any time.
struct Numbers {
  Mutex mutex;
  std::unordered_map<const void*, CodeNumber> by_address TANDEM_GUARDED_BY(mutex);
  std::vector<std::vector<std::byte>> definitions TANDEM_GUARDED_BY(mutex);
};
Numbers& numbers() {
  static auto* const made = new Numbers;
  return *made;
}

void before_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  numbers().mutex.lock();
}
void after_fork() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  numbers().mutex.unlock();
}

CodeNumber look_up(const void* function) {
  static const int error = ::pthread_atfork(before_fork, after_fork, after_fork);
  TANDEM_CHECK(error == 0, error, 0);
  MutexGuard guard(numbers().mutex);
  const auto found = numbers().by_address.find(function);
  if (found != numbers().by_address.end()) return found->second;
  Encoder encoder;
  encoder.write_code(function);
  const auto bytes = encoder.bytes();
  numbers().definitions.emplace_back(bytes.begin(), bytes.end());
  const auto number = static_cast<CodeNumber>(numbers().definitions.size() - 1);
  numbers().by_address.emplace(function, number);
  return number;
}

}  // namespace

CodeNumber code_number(const void* function) {
  // A program submits few different functions, and mostly the same one again.
  struct Known {
    const void* function = nullptr;
    CodeNumber number = kNoCode;
  };
  static thread_local std::array<Known, 16> known{};
  Known& place = known[(reinterpret_cast<std::uintptr_t>(function) >> 4) % known.size()];
  if (function == nullptr || place.function != function) place = {function, look_up(function)};
  return place.number;
}

std::vector<std::byte> code_definition(CodeNumber number) {
  MutexGuard guard(numbers().mutex);
  return numbers().definitions.at(number);
}

void Payload::assign(const Encoder& encoder) {
  const auto bytes = encoder.bytes();
  if (bytes.size() > kMostCopiedBytes || !encoder.objects().empty()) {
    parcel_ = make_parcel(bytes.data(), bytes.size(), encoder.objects());
    return;
  }
  size_bytes_ = bytes.size();
  std::byte* to = inline_.data();
  if (size_bytes_ > kInlineBytes) {
    block_ = std::make_unique<std::byte[]>(size_bytes_);
    to = block_.get();
  }
  if (size_bytes_ > 0) std::memcpy(to, bytes.data(), size_bytes_);
}

void Payload::clear() noexcept {
  size_bytes_ = 0;
  block_.reset();
  parcel_.reset();
}

std::span<const std::byte> Payload::bytes() const noexcept {
  return {block_ != nullptr ? block_.get() : inline_.data(), size_bytes_};
}

EncoderLease::EncoderLease() {
  ThreadEncoder& mine = thread_encoder();
  if (!mine.in_use) {
    mine.in_use = true;
    encoder_ = &mine.encoder;
  } else {
    own_ = std::make_unique<Encoder>();
    encoder_ = own_.get();
  }
}

EncoderLease::~EncoderLease() {
  if (own_ != nullptr) return;
  ThreadEncoder& mine = thread_encoder();
  if (mine.encoder.bytes().size() > kMostKeptBytes) {
    std::destroy_at(&mine.encoder);
    std::construct_at(&mine.encoder);
  } else {
    mine.encoder.clear();
  }
  mine.in_use = false;
}

std::exception_ptr decoding_error() {
  try {
    throw;
  } catch (const ExitRequest& request) {
    return std::make_exception_ptr(
        Error("decoding the result called tandem::exit(" + std::to_string(request.code()) + ")"));
  } catch (...) {
    return std::current_exception();
  }
}

std::exception_ptr error_of_limited_call() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    const std::uint64_t limit = memory_limit_bytes();
    if (limit == 0) return std::current_exception();
    const std::uint64_t peak = peak_memory_bytes();
    return std::make_exception_ptr(OutOfMemory("an item of a map wanted more memory than the " + std::to_string(limit) +
                                                   " bytes that its task may have; it had " + std::to_string(peak) +
                                                   " at the most",
                                               limit, peak));
  } catch (...) {
    return error_of_call();
  }
}

void encode_failure(Encoder& encoder, const std::exception_ptr& error) {
  encode(encoder, encode_exception(error));
}

std::exception_ptr decode_failure(Decoder& decoder) {
  return decode_exception(decode<std::vector<std::byte>>(decoder));
}

}  // namespace tandem::detail
