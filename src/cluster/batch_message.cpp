#include "cluster/batch_message.hpp"

#include <cstring>

#include <tandem/error.hpp>

namespace tandem::detail {
namespace {

// In the order of the bytes of this machine: the same build reads it.
template <class Number>
void append(std::vector<std::byte>& to, Number number) {
  const auto* const at = reinterpret_cast<const std::byte*>(&number);
  to.insert(to.end(), at, at + sizeof(number));
}

template <class Number>
Number take(std::span<const std::byte>& from) {
  Number number{};
  if (from.size() < sizeof(number)) throw WireError("a batch of tasks that ends too early");
  std::memcpy(&number, from.data(), sizeof(number));
  from = from.subspan(sizeof(number));
  return number;
}

}  // namespace

void add_to_batch(std::vector<std::byte>& payload, const BatchItem& item) {
  append(payload, item.number);
  append(payload, item.attempt);
  append(payload, static_cast<std::uint64_t>(item.bytes.size()));
  payload.insert(payload.end(), item.bytes.begin(), item.bytes.end());
}

std::vector<BatchItem> decode_batch(std::span<const std::byte> payload) {
  std::vector<BatchItem> items;
  while (!payload.empty()) {
    BatchItem item;
    item.number = take<std::uint64_t>(payload);
    item.attempt = take<std::uint32_t>(payload);
    const auto size = take<std::uint64_t>(payload);
    if (size > payload.size()) throw WireError("a batch of tasks whose bytes are not all there");
    item.bytes.assign(payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(size));
    payload = payload.subspan(size);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace tandem::detail
