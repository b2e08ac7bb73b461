/// How far a loop is, on a terminal.
#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <utility>

namespace tandem {

/// What a progress bar shows. Value.
struct ProgressOptions {
  /// In front of it.
  std::string label{};
  /// How many there will be. Empty: what the range says, or unknown.
  std::optional<std::uint64_t> total{};
  /// What is counted.
  std::string unit = "items";
};

/// A progress bar in the last line of the terminal on standard error: how much is done, how fast, how long it will
/// take. Owner: its destructor takes the bar away and leaves one line that sums it up.
///
///   tandem::ProgressBar bar({.label = "pages", .total = pages.size()});
///   executor.for_each([&](const Page& page) { render(page); bar.advance(); }, pages);
///
/// If standard error is no terminal (a pipe, a file, TERM=dumb) there is only that one line. What the program prints
/// meanwhile scrolls above the bar, by whatever means and from whatever process it is printed. Of several bars at a
/// time the first is shown. Width and height are the terminal's, also when they change; without colours if NO_COLOR is
/// set. If a signal ends the program the terminal is as before; SIGKILL leaves it without its last line until it is
/// reset.
///
/// Threads: advance() and done() may be called at once from any thread.
/// Cost: an atomic addition and a look at the clock; ten times a second a write to the terminal.
class ProgressBar {
 public:
  explicit ProgressBar(ProgressOptions options = {});
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// So many more are done.
  void advance(std::uint64_t count = 1) noexcept {
    done_.fetch_add(count, std::memory_order_relaxed);
    show_if_due();
  }
  [[nodiscard]] std::uint64_t done() const noexcept { return done_.load(std::memory_order_relaxed); }
  /// Shows it now, if it was not shown a moment ago: advance() does this.
  void show_if_due() noexcept;

 private:
  struct Inside;
  std::atomic<std::uint64_t> done_{0};
  const std::unique_ptr<Inside> inside_;
};

namespace detail {
template <class Range>
concept KnowsWhatIsLeft = requires(const std::remove_cvref_t<Range>& range) {
  { range.left() } -> std::convertible_to<std::optional<std::size_t>>;
};

template <class Range>
std::optional<std::uint64_t> total_of(Range& range) {
  if constexpr (KnowsWhatIsLeft<Range>) {
    const std::optional<std::size_t> left = range.left();
    return left ? std::optional<std::uint64_t>(*left) : std::nullopt;
  } else if constexpr (std::ranges::sized_range<Range>) {
    return static_cast<std::uint64_t>(std::ranges::size(range));
  } else {
    return std::nullopt;
  }
}
}  // namespace detail

/// A range that shows how far its reader is. Owner; for one thread; can be gone through once.
template <class Range>
class Progress {
  using Inner = std::remove_reference_t<Range>;

 public:
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = std::ranges::range_value_t<Inner>;
    using difference_type = std::ptrdiff_t;

    Iterator(std::ranges::iterator_t<Inner> at, ProgressBar& bar) : at_(std::move(at)), bar_(&bar) {}
    decltype(auto) operator*() const { return *at_; }
    Iterator& operator++() {
      bar_->advance();
      ++at_;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, const std::ranges::sentinel_t<Inner>& end) { return it.at_ == end; }

   private:
    std::ranges::iterator_t<Inner> at_;
    ProgressBar* bar_;
  };

  /// For progress().
  Progress(Range&& range, ProgressOptions options)
      : range_(std::forward<Range>(range)), bar_(with_total(std::move(options))) {}
  Iterator begin() {
    bar_.show_if_due();
    return Iterator(std::ranges::begin(range_), bar_);
  }
  auto end() { return std::ranges::end(range_); }

 private:
  ProgressOptions with_total(ProgressOptions options) {
    if (!options.total) options.total = detail::total_of(range_);
    return options;
  }
  Range range_;  // A reference, if it was given as an lvalue.
  ProgressBar bar_;
};

/// Goes through a range, or through the results of a map(), and shows how far it is: see ProgressBar.
///
///   for (double score : tandem::progress(executor.map(simulate, settings), {.label = "sweep"})) ...
///
/// An lvalue must live as long as the result; an rvalue is moved.
template <std::ranges::input_range Range>
Progress<Range> progress(Range&& range, ProgressOptions options = {}) {
  return Progress<Range>(std::forward<Range>(range), std::move(options));
}

}  // namespace tandem
