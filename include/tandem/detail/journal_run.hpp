/// One map() with a journal.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/callable.hpp>
#include <tandem/detail/chunk.hpp>
#include <tandem/detail/executor_base.hpp>
#include <tandem/detail/journal_core.hpp>
#include <tandem/detail/local_call.hpp>
#include <tandem/detail/map_run.hpp>
#include <tandem/future.hpp>

namespace tandem::detail {

/// One function for each type of call: its address says in which build, and which call it was.
template <class F, class R, class Item>
void journal_anchor() {}

template <class Item>
struct ItemTypes;
template <class... Args>
struct ItemTypes<std::tuple<Args...>> {
  template <class F>
  static constexpr bool kPortableCall = require_portable_call<F, Args...>();
};
template <class A, class B>
struct ItemTypes<std::pair<A, B>> : ItemTypes<std::tuple<A, B>> {};

template <class R, class Item, class F>
JournalIdentity identity_of_call(const F& fn, const std::string& version) {
  JournalIdentity identity =
      journal_identity(reinterpret_cast<const void*>(&journal_anchor<F, R, Item>), function_of(fn), typeid(F), version);
  identity.call = readable_type_name(typeid(R)) + " from " + readable_type_name(typeid(Item));
  if constexpr (!std::is_pointer_v<F>) identity.object = to_text(fingerprint_of(fn));
  return identity;
}

/// The results of a chunk whose future is done.
template <class R, class Chunk>
class ChunkEntries final : public JournalEntries {
 public:
  explicit ChunkEntries(Future<Chunk> chunk) : chunk_(std::move(chunk)) {}

  bool encode_next(Encoder& encoder) override {
    const ChunkResult<R>& result = chunk_.get();
    const std::size_t item = next_++;
    if (failure_ < result.failures.size() && result.failures[failure_].item == item) {
      ++failure_;
      return false;
    }
    if constexpr (!std::is_void_v<R>) encode(encoder, result.values[item - failure_]);
    return true;
  }

 private:
  const Future<Chunk> chunk_;
  std::size_t next_ = 0, failure_ = 0;
};

/// Hands the results of a chunk to the journal once they are there.
template <class R, class Chunk>
class RecordChunk final : public Continuation {
 public:
  RecordChunk(std::shared_ptr<JournalCore> journal, std::uint64_t id, std::uint64_t first,
              std::vector<Fingerprint> fingerprints)
      : journal_(std::move(journal)), id_(id), first_(first), fingerprints_(std::move(fingerprints)) {}

  void run(FutureState& state) noexcept override {
    if (state.outcome() != FutureState::Outcome::Value) return journal_->nothing_to_record(id_);
    auto entries = std::make_unique<ChunkEntries<R, Chunk>>(future_of<Chunk>(state));
    entries->first = first_;
    entries->fingerprints = std::move(fingerprints_);
    journal_->ended(id_, std::move(entries));
  }

 private:
  const std::shared_ptr<JournalCore> journal_;
  const std::uint64_t id_;
  const std::uint64_t first_;
  std::vector<Fingerprint> fingerprints_;
};

/// As MapRunOf, but what the journal has is not run, and what it has not is recorded before it is given. The input is
/// cut into runs of items that are all recorded, or all not.
template <class Calls, class R, class F, class Input, bool kOrdered>
class JournalRun final : public MapRun<R> {
  using Item = typename Input::Item;
  using Chunk = typename Calls::template Chunk<R, Item>;
  static_assert(ItemTypes<Item>::template kPortableCall<F>);
  static_assert(std::is_void_v<R> || require_portable<std::conditional_t<std::is_void_v<R>, int, R>>());
  // A commit takes some milliseconds on a disk: what is going on meanwhile is to last as long.
  static constexpr std::chrono::milliseconds kChunkTime{5};
  // So many items that are recorded are looked at ahead of the reader, and given at once.
  static constexpr std::size_t kRecordedAhead = 1024;
  static constexpr std::size_t kBytesAtOnce = 1 << 20;

 public:
  JournalRun(std::shared_ptr<ExecutorCore> core, std::filesystem::path file, const std::string& version,
             const MapOptions& options, F fn, Input input)
      : core_(std::move(core)),
        task_(options.task),
        retries_(task_options(*core_, task_).retries),
        sizer_(options, worker_limit(*core_), std::max<std::chrono::nanoseconds>(Calls::kChunkTime, kChunkTime)),
        deadline_(options.timeout ? Deadline::after(*options.timeout) : Deadline::never()),
        journal_(std::make_shared<JournalCore>(std::move(file), identity_of_call<R, Item>(fn, version))),
        fn_(Calls::share(std::move(fn))),
        input_(std::move(input)) {
    if (const std::optional<std::size_t> items = input_.left()) journal_->check_length(*items);
    fill();
    // A refusal of the first task is one of the call.
    if (runs_.empty() && refused_) std::rethrow_exception(std::exchange(input_error_, nullptr));
  }
  ~JournalRun() override { end(); }

  std::optional<ChunkResult<R>> next() override {
    fill();
    while (!runs_.empty()) {
      const Place at = wait_for_next();
      if (!at->second.future.valid()) {
        if (std::optional<ChunkResult<R>> recorded = give_recorded(at)) return recorded;
        continue;  // A function without a result: there is nothing to give.
      }
      Run run = std::move(at->second);
      --tasks_;
      forget(at, run.items);
      if (run.future.status() != FutureStatus::Finished) return failed(run);
      Chunk chunk = std::move(run.future).get();
      sizer_.measured(run.items, chunk.time);
      fill();
      return static_cast<ChunkResult<R>&&>(chunk);
    }
    end();
    if (input_error_) std::rethrow_exception(std::exchange(input_error_, nullptr));
    return std::nullopt;
  }
  std::optional<std::size_t> left() override {
    const std::optional<std::size_t> unread = input_ended_ ? std::size_t{0} : input_.left();
    return unread ? std::optional(*unread + in_flight_) : std::nullopt;
  }
  void take_back(ChunkResult<R>) noexcept override {}

 private:
  /// Consecutive items.
  struct Run {
    std::uint64_t first = 0;
    std::size_t items = 0;
    Future<Chunk> future{};  // Empty: all of them are recorded.
    bool on_disk = true;
  };
  using Place = typename std::map<std::uint64_t, Run>::iterator;

  Place wait_for_next() {
    for (;;) {
      if (const Place ready = find_ready(); ready != runs_.end()) return ready;
      // In a task of this executor: rather than wait for another worker, run what will be waited for.
      if (deadline_.is_never())
        for (auto& [number, run] : runs_)
          if (run.future.valid()) static_cast<void>(run.future.state().run_here());
      std::vector<std::uint64_t> written;
      try {
        written = journal_->wait(deadline_);
      } catch (...) {
        end();
        throw;
      }
      for (const std::uint64_t number : written) {
        if (const Place run = runs_.find(number); run != runs_.end()) run->second.on_disk = true;
        if constexpr (!kOrdered) ready_.push_back(number);
      }
      if (written.empty()) {
        end();
        throw DeadlineExceeded("map() was not done in time");
      }
    }
  }
  Place find_ready() {
    if constexpr (kOrdered) return runs_.begin()->second.on_disk ? runs_.begin() : runs_.end();
    return ready_.empty() ? runs_.end() : runs_.find(ready_.front());
  }
  /// The first items of a run are given.
  void forget(Place run, std::size_t items) {
    in_flight_ -= items;
    run->second.first += items;
    if (run->second.items -= items; run->second.items != 0) return;
    runs_.erase(run);
    if constexpr (!kOrdered) ready_.pop_front();
  }
  /// A chunk as a whole has no results: each of its items fails for that reason.
  std::optional<ChunkResult<R>> failed(const Run& run) {
    fill();
    ChunkResult<R> result;
    for (std::size_t item = 0; item < run.items; ++item) result.failures.push_back({item, run.future.exception()});
    return result;
  }
  /// Results out of the file; not too much memory at once.
  std::optional<ChunkResult<R>> give_recorded(Place at) {
    const Run run = at->second;
    if constexpr (std::is_void_v<R>) {
      recorded_ahead_ -= run.items;
      forget(at, run.items);
      fill();
      return std::nullopt;
    } else {
      ChunkResult<R> result;
      for (std::size_t bytes = 0; bytes < kBytesAtOnce && result.values.size() < run.items;) {
        const std::vector<std::byte> encoded = journal_->result(run.first + result.values.size());
        Decoder decoder(encoded, {}, Decoder::Writer::Stranger);
        result.values.push_back(decode<R>(decoder));
        bytes += encoded.size();
      }
      recorded_ahead_ -= result.values.size();
      forget(at, result.values.size());
      return result;
    }
  }

  void fill() {
    while (!input_ended_ && recorded_ahead_ < kRecordedAhead) {
      const std::size_t wanted = sizer_.next(tasks_, in_flight_, input_.left());
      if (wanted == 0) return;
      std::vector<Item> items;
      try {
        input_ended_ = !input_.read(items, wanted);
      } catch (...) {
        input_ended_ = true;
        input_error_ = std::current_exception();
      }
      try {
        add(std::move(items));
        if (input_ended_ && !input_error_) journal_->check_length(read_);
      } catch (...) {
        end();
        throw;
      }
    }
  }
  /// Cuts items that were read into runs.
  void add(std::vector<Item> items) {
    std::vector<Fingerprint> fingerprints;
    std::vector<bool> recorded;
    for (const Item& item : items) {
      fingerprints.push_back(fingerprint_of(item));
      recorded.push_back(journal_->has(read_ + recorded.size(), fingerprints.back()));
    }
    for (std::size_t begin = 0, end = 0; begin < items.size() && !refused_; begin = end) {
      while (end < items.size() && recorded[end] == recorded[begin]) ++end;
      Run run{.first = read_ + begin, .items = end - begin};
      if (recorded[begin]) {
        in_flight_ += run.items;
        recorded_ahead_ += run.items;
        if constexpr (!kOrdered) ready_.push_back(next_run_);
        runs_.emplace(next_run_++, std::move(run));
      } else {
        Chunk chunk;
        chunk.items.assign(std::move_iterator(items.begin() + begin), std::move_iterator(items.begin() + end));
        submit(std::move(run), std::move(chunk), {fingerprints.begin() + begin, fingerprints.begin() + end});
      }
    }
    read_ += items.size();
  }
  void submit(Run run, Chunk chunk, std::vector<Fingerprint> fingerprints) {
    const std::uint64_t id = next_run_++;
    run.on_disk = false;
    try {
      run.future = submit_call(*core_, task_, static_cast<std::uint32_t>(run.items),
                               Calls::template make_chunk<R>(fn_, std::move(chunk), retries_));
    } catch (...) {
      // What is in flight comes first.
      refused_ = input_ended_ = true;
      input_error_ = std::current_exception();
      return;
    }
    run.future.state().add(std::make_unique<RecordChunk<R, Chunk>>(journal_, id, run.first, std::move(fingerprints)));
    in_flight_ += run.items;
    ++tasks_;
    runs_.emplace(id, std::move(run));
  }
  void end() noexcept {
    input_ended_ = true;
    for (auto& [number, run] : runs_)
      if (run.future.valid()) static_cast<void>(run.future.stop());
    runs_.clear();
    journal_->close();
  }

  std::shared_ptr<ExecutorCore> core_;
  std::optional<TaskOptions> task_;
  unsigned retries_;
  ChunkSizer sizer_;
  Deadline deadline_;
  const std::shared_ptr<JournalCore> journal_;
  typename Calls::template Shared<F> fn_;
  Input input_;
  bool input_ended_ = false;
  bool refused_ = false;               // By the executor.
  std::exception_ptr input_error_;     // What ended the input early.
  std::uint64_t read_ = 0;             // Items of the input.
  std::map<std::uint64_t, Run> runs_;  // By the order of the input.
  std::uint64_t next_run_ = 0;
  std::size_t tasks_ = 0;            // Runs that are tasks.
  std::size_t in_flight_ = 0;        // Items of all runs.
  std::size_t recorded_ahead_ = 0;   // Items of runs that are recorded.
  std::deque<std::uint64_t> ready_;  // For a map that is not ordered: runs that can be given.
};

}  // namespace tandem::detail
