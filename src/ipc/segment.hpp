/// Named segments of shared memory: files in /dev/shm whose owner's life anyone can ask the kernel for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ipc/lock_file.hpp"

namespace tandem::detail {

/// Which file a name stood for: it may have been removed since and another be there. Value.
struct SegmentId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t born_ns = 0;  // Since the epoch; 0 where the file system does not tell.
  friend bool operator==(const SegmentId&, const SegmentId&) = default;
};

/// One segment as mapped in this process. Owner: of the mapping, and perhaps of the name, which its destructor removes.
///
/// Two bytes of the file are locked, as docs/internals/shared_memory.md tells: the first by each owner for life, the
/// second by whoever takes the name away.
///
/// Threads and processes: every member may be called at once from any thread.
/// Killed peers: a segment whose owner was killed, at any instruction, is removed by the next sweep(), whoever calls
/// it.
class Segment {
 public:
  /// Throws std::invalid_argument for a name that no segment can have.
  static void check_name(std::string_view name);

  /// Makes one of zeroed bytes, which this process owns, after sweep(). Throws std::invalid_argument,
  /// std::system_error.
  static std::shared_ptr<Segment> create(const std::string& name, std::size_t size_bytes);
  /// The same, with the first name given by `next_name` that is free.
  static std::shared_ptr<Segment> create_with_free_name(const std::function<std::string()>& next_name,
                                                        std::size_t size_bytes);
  /// Maps an existing one, after sweep(). Throws std::invalid_argument, std::system_error, and StaleHandle if
  /// `expected` is given and the name stands for another or for none.
  static std::shared_ptr<Segment> attach(const std::string& name, const std::optional<SegmentId>& expected = {});
  /// Takes the name away, whoever owns it. Throws std::invalid_argument, std::system_error.
  static void unlink(const std::string& name);
  /// Takes away the names of those whose owners are dead. Returns how many.
  static std::size_t sweep();

  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  std::span<std::byte> bytes() const noexcept { return bytes_; }
  const std::string& name() const noexcept { return name_; }
  const SegmentId& id() const noexcept { return id_; }
  bool is_owner() const noexcept { return owner_lock_.fd() >= 0; }
  /// Makes this process an owner too. False if the name is gone.
  bool adopt();

 private:
  // `what` begins the text of errors.
  Segment(const std::string& what, int fd, std::size_t size_bytes);
  static std::shared_ptr<Segment> make_nameless(const std::string& what, std::size_t size_bytes);
  bool publish(const std::string& name);

  std::string name_;
  SegmentId id_;
  std::span<std::byte> bytes_;
  LockFile owner_lock_;
};

}  // namespace tandem::detail
