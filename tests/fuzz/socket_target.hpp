/// What a stranger sends through a socket, in any pieces: what fuzz/socket_fuzz.cpp and the test of the seeds run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include <tandem/error.hpp>

#include "connection/frame.hpp"
#include "connection/handshake.hpp"
#include "fuzz/decoder_target.hpp"

namespace tandem::testing {

/// Gives the input out in pieces of at most the size that is asked for.
class FuzzPeer {
 public:
  FuzzPeer(std::span<const std::byte> input, std::size_t piece) : left_(input), piece_(piece) {}
  std::size_t read(std::span<std::byte> room) {
    const std::size_t size = std::min({room.size(), left_.size(), piece_});
    if (size != 0) std::memcpy(room.data(), left_.data(), size);
    left_ = left_.subspan(size);
    return size;
  }

 private:
  std::span<const std::byte> left_;
  std::size_t piece_;
};

/// The first byte says which side is played and with which key, the second one the size of the pieces. Nobody can know
/// the random numbers, so a handshake with a key must fail; what follows one without is messages.
inline void run_socket_target(std::span<const std::byte> input) {
  if (input.size() < 2) return;
  const unsigned choice = std::to_integer<unsigned>(input[0]);
  FuzzPeer peer(input.subspan(2), 1 + std::to_integer<std::size_t>(input[1]));
  const auto role = (choice & 1) != 0 ? detail::Handshake::Role::Client : detail::Handshake::Role::Listener;
  const std::optional<std::string> key = (choice & 2) != 0 ? std::optional<std::string>("key") : std::nullopt;
  detail::Handshake handshake(role, key);
  while (!handshake.done()) {
    handshake.sent(handshake.to_send().size());
    const std::size_t came = peer.read(handshake.room());
    if (came == 0) return;  // The end of the input, or of the handshake.
    handshake.received(came);
  }
  if (key) std::abort();
  constexpr std::size_t kLimit = 1 << 20;
  detail::FrameReader reader(kLimit);
  try {
    for (;;) {
      const std::size_t came = peer.read(reader.room());
      if (came == 0) return;
      if (!reader.received(came)) continue;
      detail::Message message = reader.take();
      if (message.bytes().size() > kLimit) std::abort();
      run_decoder_target(message.bytes());
      try {
        static_cast<void>(message.decode<FuzzTree>());
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
}

}  // namespace tandem::testing
