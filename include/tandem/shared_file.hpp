/// A value that travels as a file on a file system that all machines have.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <tandem/error.hpp>
#include <tandem/wire.hpp>

namespace tandem {
namespace detail {

/// A file in this process: written by it, or named to it.
class SharedFileState {
 public:
  /// Writes the file. Throws std::system_error; nothing is left then.
  SharedFileState(const std::filesystem::path& directory, const Encoder& content);
  SharedFileState(std::string path, std::uint64_t bytes) : path_(std::move(path)), bytes_(bytes) {}
  /// Removes the file if this process has written it.
  ~SharedFileState();
  SharedFileState(const SharedFileState&) = delete;
  SharedFileState& operator=(const SharedFileState&) = delete;

  const std::string& path() const noexcept { return path_; }
  std::uint64_t bytes() const noexcept { return bytes_; }
  /// Reads it by `decode`, once.
  const void* value(const std::function<std::shared_ptr<const void>(Decoder&)>& decode);

 private:
  std::string path_;
  std::uint64_t bytes_ = 0;
  int owner_ = 0;  // The process that has written it; 0: another one than this.
  std::mutex mutex_;
  std::shared_ptr<const void> value_;
};

}  // namespace detail

/// A value for tasks of a cluster that travels by way of a file: what is sent is its path. For values that are too
/// large to pass through the server, where all machines have a file system in common. Handle: copies refer to one file.
///
///   tandem::SharedFile<Mesh> mesh(make_mesh(), "/shared/scratch");
///   tandem::Future<double> load = executor.submit(solve, mesh, 3);  // double solve(const tandem::SharedFile<Mesh>&,
///   int) load.add_done_callback([mesh](const auto&) {});                 // the file stays until then
///
/// The constructor writes the file, with a name of its own; it is there, whole, before a task can be submitted with it.
/// It is removed with the last handle in the process that made it: keep one until the tasks are done, as above. If that
/// process is killed the file stays: "tandem-file-" and six letters in that folder. It is the user's alone (mode 0600),
/// so agents must run as the same user.
///
/// Threads and processes: every member may be called at once from any thread. It may be sent to any process of this
/// machine, too, where a Broadcast costs less.
/// Errors: std::system_error from the constructor if the file cannot be written, and from get() if it cannot be read:
/// both name the file, the latter the machine; WireError from get() if it is not as long as it was written, or is no
/// such value, and from the constructor for a value with handles or functions in it. StaleHandle if there is none.
/// Cost: the value is encoded and written, with fsync; nothing of it stays in memory until get(), which reads it once
/// for a handle and its copies in a process: so once for each task.
template <class T>
class SharedFile {
 public:
  using value_type = T;

  /// Has no file, for classes that have one as a member and are read by functions of their own.
  SharedFile() noexcept = default;
  SharedFile(const T& value, const std::filesystem::path& directory) {
    static_assert(detail::require_portable<T>());
    detail::Encoder content(detail::Encoder::Purpose::Stranger);
    detail::encode(content, value);
    state_ = std::make_shared<detail::SharedFileState>(directory, content);
  }

  /// The value, valid as long as a handle in this process.
  [[nodiscard]] const T& get() const {
    return *static_cast<const T*>(state().value([](detail::Decoder& decoder) -> std::shared_ptr<const void> {
      auto value = std::make_shared<const T>(detail::decode<T>(decoder));
      decoder.expect_end();
      return value;
    }));
  }
  const T& operator*() const { return get(); }
  const T* operator->() const { return &get(); }
  [[nodiscard]] std::filesystem::path path() const { return state().path(); }

  // For the wire.
  template <class Archive>
  void save(Archive& archive) const {
    archive(state().path(), state().bytes());
  }
  template <class Archive>
  void load(Archive& archive) {
    std::string path;
    std::uint64_t bytes = 0;
    archive(path, bytes);
    state_ = std::make_shared<detail::SharedFileState>(std::move(path), bytes);
  }

 private:
  detail::SharedFileState& state() const {
    if (state_ == nullptr) throw StaleHandle("this SharedFile has no file, or was moved from");
    return *state_;
  }
  std::shared_ptr<detail::SharedFileState> state_;
};

}  // namespace tandem
