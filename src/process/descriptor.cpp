#include <tandem/descriptor.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include <tandem/wire.hpp>

#include "process/descriptors.hpp"

namespace tandem {
namespace {

void check_open(int fd) {
  if (::fcntl(fd, F_GETFD) < 0) throw std::invalid_argument("descriptor " + std::to_string(fd) + " is not open");
}

}  // namespace

static_assert(Portable<Descriptor>);

Descriptor::Open::~Open() {
  ::close(fd);
}

Descriptor::Descriptor(int fd) {
  check_open(fd);
  open_ = std::make_shared<const Open>(fd);
}

Descriptor Descriptor::duplicate(int fd) {
  check_open(fd);
  detail::Fd copy = detail::duplicate(fd, "a process argument");
  Descriptor made(copy.get());
  copy.release();
  return made;
}

void Descriptor::save(detail::Encoder& encoder) const {
  encoder(open_ != nullptr);
  if (open_) encoder.describe_descriptor(open_->fd);
}

void Descriptor::load(detail::Decoder& decoder) {
  bool open = false;
  decoder(open);
  open_.reset();
  if (open) open_ = std::make_shared<const Open>(decoder.take_descriptor());
}

}  // namespace tandem
