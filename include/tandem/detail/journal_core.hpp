/// What a map() with a journal needs and that needs no types: the file, and the thread that writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <typeinfo>
#include <vector>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/fingerprint.hpp>

namespace tandem::detail {

/// What a journal must be of, to be taken up. Each is a text for people, compared as it is. Value.
struct JournalIdentity {
  std::string function;  ///< Its name, or the type of its object.
  std::string call;      ///< The types of result and arguments.
  std::string code;      ///< Build and place of the function, or the version that the user gave.
  std::string object;    ///< The fingerprint of the object that is called.
};
/// `anchor`: a function that there is one of for each type of call; `function`: what is called, null if that is an
/// object of type `type`.
JournalIdentity journal_identity(const void* anchor, const void* function, const std::type_info& type,
                                 const std::string& version);

/// Consecutive items whose calls have ended.
class JournalEntries {
 public:
  virtual ~JournalEntries() = default;
  /// Appends the result of the next item; false if that one failed. Called for each item, in their order.
  virtual bool encode_next(Encoder& encoder) = 0;

  std::uint64_t first = 0;                ///< The number of the first item.
  std::vector<Fingerprint> fingerprints;  ///< Of all.
};

/// The journal of one map(). Owner.
///
/// Threads: ended() and nothing_to_record() may be called from any thread, the others from the one that reads the map.
/// Errors: JournalRefused, std::system_error. Those that meet the thread that writes come out of wait().
class JournalCore {
 public:
  /// Opens the file, or makes it.
  JournalCore(std::filesystem::path file, const JournalIdentity& identity);
  ~JournalCore();
  JournalCore(const JournalCore&) = delete;
  JournalCore& operator=(const JournalCore&) = delete;

  /// Whether the result of this item is there. Throws JournalRefused if one of another item is.
  bool has(std::uint64_t number, const Fingerprint& fingerprint);
  /// The result of an item that is there.
  std::vector<std::byte> result(std::uint64_t number);
  /// Throws JournalRefused if there are results beyond the end of an input of so many items.
  void check_length(std::uint64_t items);

  /// Has the entries recorded; wait() tells when they are on the disk. `id` is the caller's name for them.
  void ended(std::uint64_t id, std::unique_ptr<JournalEntries> entries) noexcept;
  /// The same for entries without a result.
  void nothing_to_record(std::uint64_t id) noexcept;
  /// Waits until some are; empty if the deadline passes.
  std::vector<std::uint64_t> wait(const Deadline& deadline);

  /// Records what has ended, and closes the file. What ends later is not recorded any more.
  void close() noexcept;

 private:
  struct Inside;
  const std::unique_ptr<Inside> inside_;
};

}  // namespace tandem::detail
