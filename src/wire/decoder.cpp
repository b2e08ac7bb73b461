#include <algorithm>

#include <fmt/format.h>

#include <tandem/wire.hpp>

namespace tandem::detail {

Decoder::~Decoder() = default;

void Decoder::align(std::size_t alignment) {
  const std::size_t misaligned = static_cast<std::size_t>(position_ - begin_) % alignment;
  if (misaligned != 0) take(alignment - misaligned);
}

std::uint64_t Decoder::get_size() {
  return get<std::uint64_t>();
}

std::uint64_t Decoder::get_count() {
  const std::uint64_t count = get_size();
  if (count > remaining()) throw_cut_short(count);
  return count;
}

void Decoder::check_from_family(const char* what) const {
  if (writer_ == Writer::Stranger)
    throw WireError(fmt::format("a message from outside of the family names {}: refused", what));
}

SharedObjectPtr Decoder::refer(ObjectKind kind) {
  check_from_family("a shared object");
  ObjectId id;
  id.offset = get<std::uint64_t>();
  id.generation = get<std::uint64_t>();
  if (stand_ins_ == nullptr) return attach(id, kind);
  const auto found =
      std::find_if(stand_ins_->begin(), stand_ins_->end(), [&](const auto& one) { return one.first == id; });
  if (found == stand_ins_->end() || kind != ObjectKind::Broadcast)
    throw WireError("a message from another machine names a shared object of that machine");
  return found->second;
}

int Decoder::take_descriptor() {
  check_from_family("a descriptor");
  const std::uint64_t index = get_size();
  if (index >= descriptors_.size())
    throw WireError(fmt::format("descriptor {} of a message that came with {}", index, descriptors_.size()));
  taken_.resize(descriptors_.size());
  if (taken_[index]) throw WireError(fmt::format("descriptor {} of a message taken twice", index));
  taken_[index] = true;
  return descriptors_[index];
}

void Decoder::expect_end() const {
  if (remaining() != 0)
    throw WireError(
        fmt::format("{} of {} bytes are left over: they were written as another type", remaining(), end_ - begin_));
}

void Decoder::throw_cut_short(std::size_t wanted) const {
  throw WireError(fmt::format("message cut short or not of this type: {} more wanted, {} of {} bytes left", wanted,
                              remaining(), end_ - begin_));
}

void Decoder::throw_bad_value(const char* what) {
  throw WireError(fmt::format("bytes that are no value of {}", what));
}

}  // namespace tandem::detail
