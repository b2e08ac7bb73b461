/// Shared memory with a name, for programs that have nothing else in common.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace tandem {
namespace detail {
class Decoder;
class Encoder;
class Segment;
}  // namespace detail

/// Memory that unrelated programs of one user share by its name. Handle: copies in one process refer to one mapping,
/// which goes with the last of them; a copy that is sent to another process is attached there.
///
///   auto frames = tandem::SharedMemory::create("frames", 1 << 20);   // one program: it owns the name
///   auto frames = tandem::SharedMemory::attach("frames");            // another: it does not
///   frames.data()[0] = std::byte{1};
///
/// The process that creates it owns the name: it is removed with that process's last copy. Attaching is not owning: who
/// attaches keeps the memory, not the name, unless it adopt()s it. Memory whose name is removed stays with those who
/// have it, and is given back to the system with the last of them; nobody else can attach it any more. A forked process
/// has what its parent had mapped and owns nothing of it.
///
/// Threads and processes: every member may be called at once from any thread, each on its own copy; the bytes are
/// guarded by nothing. Not for signal handlers.
/// Killed peers: a name whose owners were killed, at whatever instruction, is removed at the next use of any static
/// member in any program of that user, or when a living process of the owner's family notices its end, whichever is
/// first. Whether an owner lives is asked of the kernel, which holds a lock for it: so nothing of a living program is
/// removed, however long that was stopped.
/// Errors: std::invalid_argument for a size of 0 or less, and for a name that is empty, has a slash or a NUL, or more
/// than 241 bytes; std::system_error that names the memory if there is none (ENOENT), the name is taken (EEXIST), it is
/// another user's (EACCES), or /dev/shm is full (ENOSPC, with what it holds). All of the memory is reserved at once: a
/// full /dev/shm is an error here, never a signal later. Nothing was made then.
/// Units: sizes in bytes, as asked for. The memory begins at a page; at first its bytes are zero.
/// Cost: a few system calls, and some for each segment that is there; reserving takes the time that the kernel needs to
/// clear the memory. The bytes are the processes' own memory.
class SharedMemory {
 public:
  /// None.
  SharedMemory() noexcept = default;

  /// Makes one of that name, which this process owns.
  [[nodiscard]] static SharedMemory create(std::string_view name, std::size_t size_bytes);
  /// The same with a name that nobody has, for example "2f6a0c9b81d47e35": tell others name(), or send them a copy.
  [[nodiscard]] static SharedMemory create(std::size_t size_bytes);
  /// Maps one that another program, or this one, owns.
  [[nodiscard]] static SharedMemory attach(std::string_view name);
  /// Removes a name, whoever owns it: for what should not be there. Who has the memory keeps it.
  static void unlink(std::string_view name);
  /// Removes the names whose owners are dead, as create() and attach() do too. Returns how many it removed.
  static std::size_t remove_leftovers();

  /// The memory; valid while a copy of this is there. Empty if there is none.
  [[nodiscard]] std::span<std::byte> data() const noexcept;
  /// The memory as elements, as many as fit. A T is not constructed: its bytes are what was written, or zero.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::span<T> as() const noexcept {
    const std::span<std::byte> bytes = data();
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return data().size(); }
  /// Throws StateError if there is none.
  [[nodiscard]] const std::string& name() const;

  /// Whether this process owns the name.
  [[nodiscard]] bool is_owner() const noexcept;
  /// Makes this process an owner too, for as long as it has a copy: the name stays until the last owner lets go. False
  /// if the name is gone already. Throws StateError if there is none.
  [[nodiscard]] bool adopt();

  explicit operator bool() const noexcept { return segment_ != nullptr; }
  /// Lets go of this copy. With the last one of the process the memory is unmapped and, if it is the owner, the name
  /// removed. The destructor does it too.
  void close() noexcept { segment_.reset(); }

  /// Whether both refer to the same memory, by whatever mapping.
  friend bool operator==(const SharedMemory& a, const SharedMemory& b) noexcept;

  // For the wire. Receiving throws StaleHandle if the name was removed since it was sent, even if there is another now.
  void save(detail::Encoder& encoder) const;
  void load(detail::Decoder& decoder);

 private:
  explicit SharedMemory(std::shared_ptr<detail::Segment> segment) noexcept;

  std::shared_ptr<detail::Segment> segment_;
};

}  // namespace tandem
