#include <tandem/shared_memory.hpp>

#include <fmt/format.h>

#include <random>
#include <utility>

#include <tandem/error.hpp>
#include <tandem/wire.hpp>

#include "ipc/segment.hpp"

namespace tandem {
namespace {

std::string random_name() {
  std::random_device random;  // Of the system: forked processes get different numbers.
  return fmt::format("{:08x}{:08x}", random(), random());
}

}  // namespace

static_assert(Portable<SharedMemory>);

SharedMemory::SharedMemory(std::shared_ptr<detail::Segment> segment) noexcept : segment_(std::move(segment)) {}

SharedMemory SharedMemory::create(std::string_view name, std::size_t size_bytes) {
  return SharedMemory(detail::Segment::create(std::string(name), size_bytes));
}

SharedMemory SharedMemory::create(std::size_t size_bytes) {
  return SharedMemory(detail::Segment::create_with_free_name(random_name, size_bytes));
}

SharedMemory SharedMemory::attach(std::string_view name) {
  return SharedMemory(detail::Segment::attach(std::string(name)));
}

void SharedMemory::unlink(std::string_view name) {
  detail::Segment::unlink(std::string(name));
}

std::size_t SharedMemory::remove_leftovers() {
  return detail::Segment::sweep();
}

std::span<std::byte> SharedMemory::data() const noexcept {
  return segment_ ? segment_->bytes() : std::span<std::byte>();
}

const std::string& SharedMemory::name() const {
  if (!segment_) throw StateError("name() of a SharedMemory that refers to none");
  return segment_->name();
}

bool SharedMemory::is_owner() const noexcept {
  return segment_ && segment_->is_owner();
}

bool SharedMemory::adopt() {
  if (!segment_) throw StateError("adopt() of a SharedMemory that refers to none");
  return segment_->adopt();
}

bool operator==(const SharedMemory& a, const SharedMemory& b) noexcept {
  if (!a || !b) return !a && !b;
  return a.segment_->id() == b.segment_->id();
}

void SharedMemory::save(detail::Encoder& encoder) const {
  encoder(segment_ != nullptr);
  if (!segment_) return;
  const detail::SegmentId& id = segment_->id();
  encoder(segment_->name(), id.device, id.inode, id.born_ns);
}

void SharedMemory::load(detail::Decoder& decoder) {
  bool present = false;
  decoder(present);
  segment_.reset();
  if (!present) return;
  std::string name;
  detail::SegmentId id;
  decoder(name, id.device, id.inode, id.born_ns);
  segment_ = detail::Segment::attach(name, id);
}

}  // namespace tandem
