/// What a test could leave behind, counted: child processes, threads, descriptors, names, bytes of the arena.
#pragma once

#include <cstddef>
#include <map>
#include <string>

namespace tandem::testing {

/// A count for each thing that the kernel knows of this process, by readable name: "child process tandem_tests",
/// "thread tandem-watcher", "descriptor pipe", "file /dev/shm/tandem-x", "arena bytes in use". Counted by name, not by
/// number, so that a thing that is replaced by its like (a helper that was killed) counts as the same. Value.
class Inventory {
 public:
  /// Counts what is there now.
  static Inventory take();

  /// One line for each thing of which there is more now than `before`; empty if there is none.
  std::string more_than(const Inventory& before) const;

  /// The same of now, but for what is about to go: looks again until there is nothing, or for a minute. A thread that
  /// was joined may still be in the kernel for a moment, and so may the peers of a killed process; other tests have
  /// their files. There is no event for any of these.
  static std::string left_since(const Inventory& before);

 private:
  struct Count {
    std::size_t number = 0;
    std::string details;  // which ones, for the message
  };
  void add(const std::string& what, const std::string& detail, std::size_t number = 1);
  void add_descendants();
  void add_threads();
  void add_descriptors();
  void add_names(const std::string& folder);

  std::map<std::string, Count> counts_;
};

/// Whether a child of this process has a child of its own, as a fork server that keeps one ready does; of those that
/// are not left out.
bool has_grandchild();

}  // namespace tandem::testing
