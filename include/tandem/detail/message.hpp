/// What passes through a connection, without its type.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <tandem/detail/shared_object.hpp>
#include <tandem/wire.hpp>

namespace tandem::detail {

/// A message to be sent. Refers to the value or the encoder that it was made of.
struct Outgoing {
  std::span<const std::byte> bytes;
  bool is_value = false;  ///< By send(), not by send_bytes().
  std::span<const SharedObjectPtr> objects{};
  std::span<const int> descriptors{};

  explicit Outgoing(std::span<const std::byte> plain, bool value) : bytes(plain), is_value(value) {}
  explicit Outgoing(const Encoder& encoder)
      : bytes(encoder.bytes()), is_value(true), objects(encoder.objects()), descriptors(encoder.descriptors()) {}
};

/// A message that was received. Owner: move-only; closes the descriptors that came with it and were not taken.
class Message {
 public:
  /// How a message was sent, and by whom.
  struct Form {
    bool is_value = false;
    Decoder::Writer writer = Decoder::Writer::Family;
  };

  /// `bytes` lie in what `keeper` keeps.
  Message(Form form, std::span<const std::byte> bytes, std::shared_ptr<const void> keeper,
          std::vector<int> descriptors = {})
      : form_(form), bytes_(bytes), keeper_(std::move(keeper)), descriptors_(std::move(descriptors)) {}
  Message(Message&&) noexcept = default;
  Message& operator=(Message&&) = delete;
  ~Message();

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// Reads the value. Throws WireError if it is none, or was sent as bytes.
  template <class T>
  T decode() {
    check_is_value();
    Decoder decoder(bytes_, descriptors_, form_.writer);
    const TakenGuard guard{*this, decoder};
    T value = detail::decode<T>(decoder);
    decoder.expect_end();
    return value;
  }
  /// Throws WireError if it was sent as a value.
  void check_is_bytes() const;

 private:
  struct TakenGuard {
    Message& message;
    const Decoder& decoder;
    ~TakenGuard() { message.forget_taken(decoder); }
  };
  void check_is_value() const;
  void forget_taken(const Decoder& decoder) noexcept;

  Form form_;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> keeper_;
  std::vector<int> descriptors_;
};

}  // namespace tandem::detail
