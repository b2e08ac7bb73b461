/// Bytes from outside, decoded as values of many types: what fuzz/decoder_fuzz.cpp and the test of the seeds run.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <unordered_map>
#include <valarray>
#include <variant>
#include <vector>

#include <tandem/connection.hpp>
#include <tandem/descriptor.hpp>
#include <tandem/queue.hpp>
#include <tandem/wire.hpp>

namespace tandem::testing {

struct FuzzTree {
  std::string name;
  std::vector<FuzzTree> children;
  std::optional<double> weight;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, children, weight);
  }
};

struct FuzzNothing {};

template <class T>
void decode_as(std::span<const std::byte> bytes) {
  detail::Decoder decoder(bytes, {}, detail::Decoder::Writer::Stranger);
  try {
    static_cast<void>(detail::decode<T>(decoder));
    decoder.expect_end();
  } catch (const Error&) {
  }
}

/// The first byte chooses the type, the others are the value. Whatever they are, the end is a value or an Error.
inline void run_decoder_target(std::span<const std::byte> input) {
  using Decode = void (*)(std::span<const std::byte>);
  using Record = std::tuple<int, std::string, std::pair<bool, double>>;
  static constexpr Decode kTypes[] = {
      decode_as<int>,
      decode_as<bool>,
      decode_as<std::string>,
      decode_as<std::u16string>,
      decode_as<std::vector<int>>,
      decode_as<std::vector<bool>>,
      decode_as<std::vector<std::string>>,
      decode_as<std::vector<FuzzNothing>>,
      decode_as<std::deque<std::vector<double>>>,
      decode_as<std::array<std::string, 3>>,
      decode_as<std::map<std::string, std::vector<int>>>,
      decode_as<std::unordered_map<int, std::optional<std::string>>>,
      decode_as<std::set<Record>>,
      decode_as<std::variant<int, std::string, std::vector<Record>>>,
      decode_as<std::valarray<double>>,
      decode_as<std::filesystem::path>,
      decode_as<std::vector<std::optional<std::variant<bool, Record>>>>,
      decode_as<FuzzTree>,
      decode_as<Queue<int>>,
      decode_as<std::vector<Queue<int>>>,
      decode_as<int (*)(int)>,
      decode_as<Descriptor>,
      decode_as<Connection>,
  };
  if (input.empty()) return;
  kTypes[std::to_integer<std::size_t>(input[0]) % std::size(kTypes)](input.subspan(1));
}

}  // namespace tandem::testing
