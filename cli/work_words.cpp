#include <fmt/format.h>

#include <algorithm>

#include "input_file.hpp"
#include "range.hpp"
#include "text.hpp"
#include "word_counter.hpp"
#include "work.hpp"

namespace tandem::tool {
namespace {

/// A stretch of a file that begins and ends between words. The worker reads it itself: only its name travels.
struct Stretch {
  InputFile file;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(file, begin, end);
  }
};

struct WordCounts {
  std::uint64_t total = 0;
  std::vector<std::pair<std::string, std::uint64_t>> counts;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(total, counts);
  }
};

WordCounts count_words(const std::vector<Stretch>& stretches) {
  WordCounter counter;
  for (const Stretch& stretch : stretches) {
    read_blocks(stretch.file, stretch.begin, stretch.end, [&counter](std::span<const char> block) {
      counter.add(block);
      return true;
    });
    counter.end_text();
  }
  return {counter.total(), {counter.counts().begin(), counter.counts().end()}};
}

/// The first place at or behind `wanted` where no word is cut; the file's end if there is none.
std::uint64_t cut_near(const InputFile& file, std::uint64_t wanted) {
  if (wanted == 0 || wanted >= file.size_bytes) return wanted;
  std::uint64_t at = wanted - 1;  // A separator just before the wanted place makes it good as it is.
  read_blocks(file, at, file.size_bytes, [&at](std::span<const char> block) {
    const auto separator = std::find_if(block.begin(), block.end(), WordCounter::separates);
    const bool found = separator != block.end();
    at += static_cast<std::uint64_t>(separator - block.begin()) + (found ? 1 : 0);
    return !found;
  });
  return at;
}

/// Cuts all files, as if they stood one behind the other, into stretches of about the same length for each worker.
std::vector<std::vector<Stretch>> split_files(const std::vector<InputFile>& files, std::size_t workers) {
  std::uint64_t total_bytes = 0;
  for (const InputFile& file : files) total_bytes += file.size_bytes;
  std::vector<std::vector<Stretch>> tasks(workers);
  const std::vector<Range> ranges = split_range({0, total_bytes}, workers);
  std::uint64_t file_begin = 0;
  for (const InputFile& file : files) {
    std::uint64_t begin = 0;
    for (std::size_t worker = 0; worker < workers; ++worker) {
      if (ranges[worker].end <= file_begin || begin >= file.size_bytes) continue;
      const std::uint64_t wanted = std::min(ranges[worker].end - file_begin, file.size_bytes);
      if (wanted <= begin) continue;  // The stretch before it reached further, for want of a separator.
      const std::uint64_t end = cut_near(file, wanted);
      tasks[worker].push_back({file, begin, end});
      begin = end;
    }
    file_begin += file.size_bytes;
  }
  return tasks;
}

std::string describe_counts(const std::vector<WordCounts>& parts) {
  constexpr std::size_t kMostFrequent = 10;
  std::uint64_t total = 0;
  WordCounter::Counts all;
  for (const WordCounts& part : parts) {
    total += part.total;
    for (const auto& [word, count] : part.counts) all[word] += count;
  }
  std::vector<std::pair<std::string_view, std::uint64_t>> ranked(all.begin(), all.end());
  const auto more_frequent = [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  };
  const std::size_t shown = std::min(kMostFrequent, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(shown), ranked.end(), more_frequent);
  std::string text = fmt::format("total {}, distinct {}", total, ranked.size());
  for (std::size_t i = 0; i < shown; ++i)
    text += fmt::format("{} {} {}", i == 0 ? ", most frequent:" : ",", ranked[i].first, ranked[i].second);
  return text;
}

class WordsWork final : public Work {
 public:
  std::string name() const override { return "words"; }
  std::string usage() const override { return "words FILE..."; }
  std::string description() const override {
    return "Counts the words of text files: total, distinct, the ten most frequent. Reads, computes, and sends much "
           "back.";
  }
  void add_options(CLI::App& app) override {
    app.add_option("FILE", names_, "text files of any size, UTF-8 or not")->required()->type_name("");
  }
  Workload make() const override {
    Workload work = workload(
        name(), [files = check_files(names_)](std::size_t workers) { return split_files(files, workers); },
        &count_words, &describe_counts);
    work.set_inputs(join_names(names_));
    return work;
  }

 private:
  std::vector<std::string> names_;
};

}  // namespace

std::unique_ptr<Work> words_work() {
  return std::make_unique<WordsWork>();
}

}  // namespace tandem::tool
