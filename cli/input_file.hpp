/// Files that a work reads: checked before anything is measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tandem::tool {

/// A readable regular file. Value; portable.
struct InputFile {
  /// As the user gave it, for messages.
  std::string name;
  /// Absolute, so that it means the same in every process.
  std::string path;
  std::uint64_t size_bytes = 0;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, path, size_bytes);
  }
};

/// Looks at all files. Throws BadInput for the first that is not there, not readable or not a regular file, and if
/// there is not a single byte in all of them.
std::vector<InputFile> check_files(const std::vector<std::string>& names);

/// Reads the bytes from `begin` to before `end` in blocks, files of any size, for as long as `process` returns true,
/// with a checkpoint between the blocks. Throws std::runtime_error if the file cannot be read any more or has become
/// shorter.
void read_blocks(const InputFile& file, std::uint64_t begin, std::uint64_t end,
                 const std::function<bool(std::span<const char> block)>& process);

/// Joins names for a title: "a b c", shortened in the middle if there are many.
std::string join_names(const std::vector<std::string>& names);

}  // namespace tandem::tool
