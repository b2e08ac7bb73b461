/// Waiting for the next of several results.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/future_state.hpp>

namespace tandem::detail {

/// The results that it watches, as they get done. Owner; its members are for one thread. Lets go of all when destroyed.
class Completions {
 public:
  Completions();
  ~Completions();
  Completions(Completions&&) noexcept = default;
  Completions& operator=(Completions&&) = delete;

  /// Gives `place` back from next() once the result is there; keeps the state alive until then.
  void watch(FutureState& state, std::size_t place);
  /// Waits for the next one and forgets it; empty if the deadline passes first. In a task of their executor, runs one
  /// that nobody has begun. There must be one that was not given back yet.
  std::optional<std::size_t> next(const Deadline& deadline);

 private:
  struct Inside;
  std::shared_ptr<Inside> inside_;
};

/// Goes through whatever has a next() that gives an optional: an input iterator whose copies are one.
template <class Source>
class NextIterator {
 public:
  using Item = typename decltype(std::declval<Source&>().next())::value_type;
  using iterator_concept = std::input_iterator_tag;
  using value_type = Item;
  using difference_type = std::ptrdiff_t;

  explicit NextIterator(Source& source) : source_(&source), item_(source.next()) {}
  NextIterator(NextIterator&&) noexcept = default;
  NextIterator& operator=(NextIterator&&) noexcept = default;

  Item& operator*() const noexcept { return *item_; }
  NextIterator& operator++() {
    item_.reset();  // Nothing is kept of it while the next one is waited for.
    item_ = source_->next();
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const NextIterator& iterator, std::default_sentinel_t) noexcept {
    return !iterator.item_.has_value();
  }

 private:
  Source* source_;
  mutable std::optional<Item> item_;
};

}  // namespace tandem::detail
