/// Calls that leave this process as bytes, and whose results come back as bytes: without their types.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <typeinfo>
#include <vector>

#include <tandem/detail/shared_object.hpp>
#include <tandem/detail/task.hpp>
#include <tandem/wire.hpp>

namespace tandem::detail {

/// Makes a call in the process that received it: reads the arguments, calls, writes the result. What goes wrong in any
/// of the three it throws. `function` is what to call if that is a plain function, else null and part of the arguments.
using RemoteEntry = void (*)(const void* function, Decoder& arguments, Encoder& result);

/// Bytes that wait to travel, with what they refer to. What is small lies in this object; what is big, or refers to
/// shared objects, in a parcel of the arena, so that it is not copied on its way. Owner: move-only.
class Payload {
 public:
  static constexpr std::size_t kInlineBytes = 48;
  /// Up to here a copy costs less than a block of the arena.
  static constexpr std::size_t kMostCopiedBytes = 4096;

  Payload() = default;
  Payload(Payload&&) noexcept = default;
  Payload& operator=(Payload&&) noexcept = default;

  /// Takes a copy of what was encoded. Throws std::system_error if the arena is full.
  void assign(const Encoder& encoder);
  void clear() noexcept;
  /// Where the bytes are if they are not small; null otherwise.
  const SharedObjectPtr& parcel() const noexcept { return parcel_; }
  std::span<const std::byte> bytes() const noexcept;

 private:
  std::array<std::byte, kInlineBytes> inline_;
  std::size_t size_bytes_ = 0;
  std::unique_ptr<std::byte[]> block_;
  SharedObjectPtr parcel_;
};

/// An encoder of the calling thread, empty; another one if that is in use, as when a type's own function for encoding
/// submits a task.
class EncoderLease {
 public:
  EncoderLease();
  ~EncoderLease();
  EncoderLease(const EncoderLease&) = delete;
  EncoderLease& operator=(const EncoderLease&) = delete;
  Encoder& operator*() const noexcept { return *encoder_; }

 private:
  Encoder* encoder_;
  std::unique_ptr<Encoder> own_;
};

/// A number that stands for a function of this process in what is sent to workers; the same for each task that has it.
using CodeNumber = std::uint32_t;
inline constexpr CodeNumber kNoCode = ~CodeNumber{0};
CodeNumber code_number(const void* function);

/// A call that is made by a worker that shares no memory with this process.
class RemoteTask : public Task {
 public:
  /// `plain_function` as in RemoteEntry; null if it is part of the arguments.
  RemoteTask(FutureState& state, RemoteEntry code, const void* plain_function)
      : Task(state, plain_function),
        entry_(code_number(reinterpret_cast<const void*>(code))),
        function_(plain_function != nullptr ? code_number(plain_function) : kNoCode) {}

  CodeNumber entry() const noexcept { return entry_; }
  CodeNumber function() const noexcept { return function_; }
  /// Valid until forget().
  const Payload& payload() const noexcept { return payload_; }
  /// After a claim: decodes the result into the state, or notes the error that this gives. Gives which, for settle().
  virtual FutureState::Outcome take_result(Decoder& result) noexcept = 0;

  /// Once: who ends it from outside may meet who brings its result.
  void forget() noexcept override {
    if (!forgotten_.exchange(true, std::memory_order_acq_rel)) payload_.clear();
  }
  bool repeatable() const noexcept override { return true; }

 protected:
  Payload payload_;

 private:
  const CodeNumber entry_;
  const CodeNumber function_;
  std::atomic<bool> forgotten_{false};
};

/// Within a handler: what a result fails with that cannot be decoded. What asks to exit must not end who wants it.
std::exception_ptr decoding_error();

/// As error_of_call(), in a worker: OutOfMemory for a std::bad_alloc of a task with a memory limit.
std::exception_ptr error_of_limited_call() noexcept;

// Exceptions among other values.
void encode_failure(Encoder& encoder, const std::exception_ptr& error);
std::exception_ptr decode_failure(Decoder& decoder);

}  // namespace tandem::detail
