#include <algorithm>
#include <cstdlib>
#include <new>

#include <fmt/format.h>

#include <tandem/wire.hpp>

namespace tandem::detail {
namespace {

// Most messages fit into this, so that they need one allocation.
constexpr std::size_t kFirstCapacity = 256;
// Up to here a search through the list is cheaper than the set.
constexpr std::size_t kFewObjects = 16;

}  // namespace

void NestingLevel::refuse() {
  --depth_;  // The destructor will not run.
  throw WireError(
      fmt::format("values nested more than {} levels deep do not travel: send them as a flat list", kMaxNesting));
}

Encoder::Encoder(Encoder&& other) noexcept
    : OutputArchive(this),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      purpose_(other.purpose_),
      used_cereal_(other.used_cereal_),
      objects_(std::move(other.objects_)),
      known_objects_(std::move(other.known_objects_)),
      descriptors_(std::move(other.descriptors_)) {}

Encoder::~Encoder() {
  std::free(data_);
}

void Encoder::grow(std::size_t more) {
  if (more > SIZE_MAX / 2 - size_) throw std::bad_alloc();
  const std::size_t capacity = std::max({kFirstCapacity, size_ + more, capacity_ + capacity_ / 2});
  // realloc moves large blocks by changing the page tables, without a copy.
  void* data = std::realloc(data_, capacity);
  if (data == nullptr) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(data);
  capacity_ = capacity;
}

void Encoder::align(std::size_t alignment) {
  static constexpr std::byte kZeros[64] = {};
  for (std::size_t left = (alignment - size_ % alignment) % alignment; left != 0;) {
    const std::size_t part = std::min(left, sizeof kZeros);
    write(kZeros, part);
    left -= part;
  }
}

void Encoder::refer(const SharedObjectPtr& object) {
  check_for_family("a handle");
  if (object == nullptr) throw WireError("a handle that was moved from cannot be sent");
  const ObjectId id = object->id();
  write(&id.offset, sizeof id.offset);
  write(&id.generation, sizeof id.generation);
  if (objects_.size() < kFewObjects) {
    if (std::find(objects_.begin(), objects_.end(), object) == objects_.end()) objects_.push_back(object);
    return;
  }
  if (known_objects_.empty())
    for (const SharedObjectPtr& known : objects_) known_objects_.insert(known.get());
  if (known_objects_.insert(object.get()).second) objects_.push_back(object);
}

void Encoder::check_for_family(const char* what) const {
  if (purpose_ == Purpose::Stranger)
    throw WireError(
        fmt::format("{} cannot be sent over a socket: the other side may be no process of the family", what));
}

void Encoder::describe_descriptor(int fd) {
  check_for_family("an open descriptor");
  if (purpose_ == Purpose::Item)
    throw WireError(
        fmt::format("descriptor {} can be sent through a pipe or be an argument of a Process, but it cannot be an item "
                    "of a queue",
                    fd));
  put_size(descriptors_.size());
  descriptors_.push_back(fd);
}

void Encoder::throw_valueless() {
  throw WireError("a std::variant that lost its value by an exception cannot be sent");
}

void Encoder::clear() {
  std::byte* const data = std::exchange(data_, nullptr);
  const std::size_t capacity = std::exchange(capacity_, 0);
  if (used_cereal_) {
    // cereal remembers what it has written once for all, such as class versions, and has no way to forget it.
    const Purpose purpose = purpose_;
    std::destroy_at(this);
    std::construct_at(this, purpose);
  }
  data_ = data;
  capacity_ = capacity;
  size_ = 0;
  depth_ = 0;
  objects_.clear();
  known_objects_.clear();
  descriptors_.clear();
}

}  // namespace tandem::detail
