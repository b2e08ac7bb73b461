/// A directory of a test's own.
#pragma once

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

namespace tandem::testing {

/// An empty directory, which is removed with all that is in it. Owner.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& what) {
    std::string name = std::filesystem::temp_directory_path() / ("tandem_test_" + what + "_XXXXXX");
    if (::mkdtemp(name.data()) == nullptr)
      throw std::system_error(errno, std::generic_category(), "cannot make the directory " + name);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace tandem::testing
