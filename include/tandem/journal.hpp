/// Results of a map() that outlive the program: a run that was killed is taken up where it was.
#pragma once

#include <filesystem>
#include <string>

#include <tandem/detail/journal_run.hpp>
#include <tandem/error.hpp>
#include <tandem/executor.hpp>
#include <tandem/executor_options.hpp>

namespace tandem {

/// A journal that cannot be taken up: of another program, function or input, of another kind, or in use. The text names
/// the file and the difference. The file is as it was.
class JournalRefused : public Error {
 public:
  using Error::Error;
};

/// A map() whose results are kept in a file. The same call in a later run of the program computes only what is not
/// there yet, and gives the rest from the file: each result once, in the order of the input. Value.
///
///   for (double score : executor.map(tandem::Journal{"sweep.journal"}, simulate, settings)) ...
///
/// The function must be one that could be sent to another process, also in a ThreadExecutor (a function or a lambda
/// without captures), and arguments and results must be portable and not hold Tandem handles: anything else does not
/// compile, or is a WireError. A function that returns nothing can be used with for_each(). A call that failed is not
/// recorded: the next run makes it again.
///
/// What a journal is of: the file remembers the build of the program and the function in it (see `version`), its types,
/// and a fingerprint of each recorded item; if any of these differ, JournalRefused says which and nothing is run or
/// changed. The input may have become longer since, but not shorter. MapOptions do not matter: a map_unordered() takes
/// up what a map() began, with processes what threads began.
/// Killed programs and loss of power: a result that map() gave is on the disk, and stays. Records that were being
/// written are recognised and computed again, as are damaged ones.
/// Threads and processes: a file is open for one map() at a time, in all the machine; the second is refused. The lock
/// goes with the program, the next run finds the file as it is. Workers know nothing of it.
/// Errors: JournalRefused; std::system_error that names the file: no space left, a directory that cannot be written,
/// too many descriptors. They come out of map() or next(), the map ends, and what was recorded stays.
/// Cost: some microseconds for each item, and a write to the disk and back for as many as have ended meanwhile. For
/// items of a millisecond and more that is nothing; small items are better cut into larger ones.
///
/// FILE is a SQLite database; FILE-wal beside it belongs to it until the map has ended.
struct Journal {
  /// Made if it is not there. Delete it to begin anew.
  std::filesystem::path file{};
  /// Empty: a journal belongs to this very build of the program. Otherwise to this text and the function's name: say
  /// the same one to let a new build take up the work of an old one, another one when results would differ.
  std::string version{};
  /// How the map differs from the usual one.
  MapOptions map{};
};

}  // namespace tandem
