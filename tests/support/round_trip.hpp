/// Sends a value through the wire within this process.
#pragma once

#include <tandem/wire.hpp>

namespace tandem::testing {

template <class T>
T round_trip(const T& value) {
  detail::Encoder encoder;
  detail::encode(encoder, value);
  detail::Decoder decoder(encoder.bytes());
  T copy = detail::decode<T>(decoder);
  decoder.expect_end();
  return copy;
}

}  // namespace tandem::testing
