/// Pools of workers that run calls and give their results: in threads or in processes, with one set of members.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <tandem/detail/deadline.hpp>
#include <tandem/detail/executor_base.hpp>
#include <tandem/detail/local_call.hpp>
#include <tandem/detail/map_run.hpp>
#include <tandem/detail/remote_call.hpp>
#include <tandem/executor_options.hpp>
#include <tandem/future.hpp>

namespace tandem {

struct Journal;
namespace detail {
template <class Calls, class R, class F, class Input, bool kOrdered>
class JournalRun;
}

/// The results of a map(), read as they come. Owner: move-only; for one thread. A range that can be gone through once.
///
///   for (double area : executor.map(area_of, shapes)) total += area;
///   while (auto area = results.next()) ...     // the same, where single items may fail: see next()
///
/// Reading it is what reads more of the input: one that is not read stops the workers when its window is full. If it is
/// destroyed early, what nobody has begun is cancelled and what is running is asked to stop.
template <class R>
class MapResults {
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = R;
    using difference_type = std::ptrdiff_t;

    explicit Iterator(MapResults& results) : results_(&results) { results_->find(); }
    decltype(auto) operator*() const noexcept { return results_->chunk_.values[results_->value_]; }
    Iterator& operator++() {
      results_->drop();
      results_->find();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) noexcept { return it.at_end(); }

   private:
    bool at_end() const noexcept { return results_->value_ == results_->run_end_; }
    MapResults* results_;
  };

 public:
  /// Waits for the next result; empty at the end. Throws what the call for this item threw, and goes on with the next
  /// item when called again; what reading the input threw, after the results of all that was read; DeadlineExceeded if
  /// MapOptions::timeout is over, and then this is the end.
  std::optional<R> next() {
    if (value_ == run_end_ && !refill()) return std::nullopt;
    return std::optional<R>(std::move(chunk_.values[value_++]));
  }
  Iterator begin() { return Iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }
  /// Reads all that is left. Throws the first failure.
  std::vector<R> to_vector() {
    std::vector<R> all;
    if (run_ != nullptr) all.reserve(chunk_.values.size() - value_ + run_->left().value_or(0));
    for (find(); value_ < run_end_; find()) {
      const auto first = chunk_.values.begin() + static_cast<std::ptrdiff_t>(value_);
      const auto last = chunk_.values.begin() + static_cast<std::ptrdiff_t>(run_end_);
      all.insert(all.end(), std::make_move_iterator(first), std::make_move_iterator(last));
      value_ = run_end_;
    }
    return all;
  }
  /// How many results are still to come, failures among them, if the input knows its length.
  [[nodiscard]] std::optional<std::size_t> left() const {
    const std::size_t here = chunk_.values.size() - value_ + chunk_.failures.size() - failure_;
    if (run_ == nullptr) return here;
    const std::optional<std::size_t> there = run_->left();
    return there ? std::optional(*there + here) : std::nullopt;
  }
  /// Ends it here, as the destructor does.
  void close() {
    run_.reset();
    chunk_ = {};
    value_ = run_end_ = failure_ = 0;
  }

  /// For map().
  explicit MapResults(std::unique_ptr<detail::MapRun<R>> run) : run_(std::move(run)) {}

 private:
  void find() {
    if (value_ == run_end_) refill();
  }
  void drop() {
    // Nothing is kept of a result that was given.
    if constexpr (!std::is_trivially_destructible_v<R>) static_cast<void>(R(std::move(chunk_.values[value_])));
    ++value_;
  }
  /// Goes to the next result; false at the end. Throws the failure that comes before it.
  bool refill() {
    while (value_ == run_end_) {
      if (failure_ < chunk_.failures.size()) {
        const std::exception_ptr error = std::move(chunk_.failures[failure_++].error);
        find_run_end();
        std::rethrow_exception(error);
      }
      if (run_ == nullptr) return false;
      value_ = run_end_ = failure_ = 0;
      run_->take_back(std::exchange(chunk_, {}));
      std::optional<detail::ChunkResult<R>> chunk = run_->next();
      if (!chunk) return false;
      chunk_ = std::move(*chunk);
      find_run_end();
    }
    return true;
  }
  void find_run_end() noexcept {
    run_end_ = failure_ < chunk_.failures.size() ? chunk_.failures[failure_].item - failure_ : chunk_.values.size();
  }

  std::unique_ptr<detail::MapRun<R>> run_;
  detail::ChunkResult<R> chunk_;
  std::size_t value_ = 0;    // The next of its values,
  std::size_t run_end_ = 0;  // the end of those that come before the next failure,
  std::size_t failure_ = 0;  // and that failure.
};

/// What executors have in common that does not depend on where they run. Owner: move-only; its destructor is
/// shutdown().
class AnyExecutor {
 public:
  AnyExecutor(AnyExecutor&&) noexcept = default;
  /// Ends the executor that was here before as the destructor does.
  AnyExecutor& operator=(AnyExecutor&& other) noexcept;
  ~AnyExecutor();

  /// Takes no more tasks, deals with those that nobody has begun as `backlog` says, waits until all are done and the
  /// workers are gone. May be called again. From a task of this executor, or a callback of its result that a pool of
  /// processes runs, it would wait for itself: StateError.
  ShutdownReport shutdown(Backlog backlog = Backlog::Run) { return end(backlog, detail::Deadline::never()); }
  /// As shutdown(), but when the time is over what nobody has begun is cancelled and what is running is given up: its
  /// future fails with ExecutorShutDown and it is stopped as by Future::stop(). A thread that takes no notice goes on
  /// until its function returns, and leaving main waits for it. Throws std::invalid_argument for a negative time.
  template <class Rep, class Period>
  ShutdownReport shutdown_for(std::chrono::duration<Rep, Period> timeout, Backlog backlog = Backlog::Run) {
    return end(backlog, detail::Deadline::after(timeout));
  }
  /// Takes no more tasks, and does not wait: the workers go when all is done. Gives how many tasks were cancelled.
  std::size_t close(Backlog backlog = Backlog::Run);

  /// How many workers there may be.
  [[nodiscard]] std::size_t worker_limit() const { return detail::worker_limit(core()); }
  /// Those that there are: they are started when there is work for them.
  [[nodiscard]] std::vector<WorkerInfo> workers() const;
  [[nodiscard]] ExecutorCounters counters() const;

 protected:
  explicit AnyExecutor(std::shared_ptr<detail::ExecutorCore> core) noexcept : core_(std::move(core)) {}
  /// Throws StateError if it was moved from.
  detail::ExecutorCore& core() const;
  const std::shared_ptr<detail::ExecutorCore>& shared_core() const;

 private:
  ShutdownReport end(Backlog backlog, const detail::Deadline& deadline);
  void end_quietly() noexcept;
  std::shared_ptr<detail::ExecutorCore> core_;
};

/// The members of executors that call functions. `Calls` says how a call becomes a task in the place where it runs.
template <class Calls>
class BasicExecutor : public AnyExecutor {
  template <class F, class... Inputs>
  using MapResult = detail::CallResultOf<const std::decay_t<F>&, std::ranges::range_value_t<Inputs>...>;
  template <class F, class Input>
  using StarmapResult = std::decay_t<decltype(std::apply(std::declval<const std::decay_t<F>&>(),
                                                         std::declval<std::ranges::range_value_t<Input>>()))>;

 public:
  /// Has a worker call `fn(arguments...)`, with copies of both. Waits if the backlog is full, see ExecutorOptions; not
  /// in a task of this executor. Throws ExecutorShutDown after a shutdown, BrokenExecutor if the initializer failed.
  template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, TaskOptions>)
  auto submit(F&& fn, Args&&... arguments) {
    return detail::submit_call(core(), std::nullopt, 1,
                               Calls::make(std::forward<F>(fn), std::forward<Args>(arguments)...));
  }
  /// Throws std::invalid_argument for an option that makes no sense.
  template <class F, class... Args>
  auto submit(TaskOptions options, F&& fn, Args&&... arguments) {
    return detail::submit_call(core(), std::optional(std::move(options)), 1,
                               Calls::make(std::forward<F>(fn), std::forward<Args>(arguments)...));
  }

  /// Calls `fn` for each item of the input, or for the first, second ... items of several inputs until the shortest
  /// ends. The results come in the order of the input. The calls begin at once.
  ///
  /// The input is read by the thread that calls map() and reads the results, and no further than the window: it may be
  /// any range, also one without end or a generator. One given as an lvalue must live as long as the results are read;
  /// an rvalue is moved. Items are copied. `fn` is shared by calls that run at once.
  template <class F, std::ranges::input_range... Inputs>
  auto map(F&& fn, Inputs&&... inputs) {
    return map(MapOptions(), std::forward<F>(fn), std::forward<Inputs>(inputs)...);
  }
  template <class F, std::ranges::input_range... Inputs>
  auto map(MapOptions options, F&& fn, Inputs&&... inputs) {
    return begin_map<true, MapResult<F, Inputs...>>(options, std::forward<F>(fn),
                                                    zipped(std::forward<Inputs>(inputs)...));
  }
  /// As map(), in the order in which the calls end.
  template <class F, std::ranges::input_range... Inputs>
  auto map_unordered(F&& fn, Inputs&&... inputs) {
    return map_unordered(MapOptions(), std::forward<F>(fn), std::forward<Inputs>(inputs)...);
  }
  template <class F, std::ranges::input_range... Inputs>
  auto map_unordered(MapOptions options, F&& fn, Inputs&&... inputs) {
    return begin_map<false, MapResult<F, Inputs...>>(options, std::forward<F>(fn),
                                                     zipped(std::forward<Inputs>(inputs)...));
  }
  /// As map() for an input of tuples, each of which is the arguments of one call.
  template <class F, std::ranges::input_range Input>
  auto starmap(F&& fn, Input&& input) {
    return starmap(MapOptions(), std::forward<F>(fn), std::forward<Input>(input));
  }
  template <class F, std::ranges::input_range Input>
  auto starmap(MapOptions options, F&& fn, Input&& input) {
    return begin_map<true, StarmapResult<F, Input>>(options, std::forward<F>(fn),
                                                    detail::TupleInput(std::views::all(std::forward<Input>(input))));
  }
  /// Calls `fn` for each item and waits until all calls are done; what they return is dropped. Then throws the first
  /// failure in the order of the input, if there is one.
  template <class F, std::ranges::input_range... Inputs>
  void for_each(F&& fn, Inputs&&... inputs) {
    for_each(MapOptions(), std::forward<F>(fn), std::forward<Inputs>(inputs)...);
  }
  template <class F, std::ranges::input_range... Inputs>
  void for_each(MapOptions options, F&& fn, Inputs&&... inputs) {
    finish(*make_run<true, void>(options, std::forward<F>(fn), zipped(std::forward<Inputs>(inputs)...)));
  }

  /// The same with a journal, which keeps the results of a program that is killed for its next run: see journal.hpp,
  /// which is to be included.
  template <std::same_as<Journal> J, class F, std::ranges::input_range... Inputs>
  auto map(J journal, F&& fn, Inputs&&... inputs) {
    using R = MapResult<F, Inputs...>;
    return begin_map<true, R>(journal, std::forward<F>(fn), zipped(std::forward<Inputs>(inputs)...));
  }
  template <std::same_as<Journal> J, class F, std::ranges::input_range... Inputs>
  auto map_unordered(J journal, F&& fn, Inputs&&... inputs) {
    using R = MapResult<F, Inputs...>;
    return begin_map<false, R>(journal, std::forward<F>(fn), zipped(std::forward<Inputs>(inputs)...));
  }
  template <std::same_as<Journal> J, class F, std::ranges::input_range Input>
  auto starmap(J journal, F&& fn, Input&& input) {
    return begin_map<true, StarmapResult<F, Input>>(journal, std::forward<F>(fn),
                                                    detail::TupleInput(std::views::all(std::forward<Input>(input))));
  }
  template <std::same_as<Journal> J, class F, std::ranges::input_range... Inputs>
  void for_each(J journal, F&& fn, Inputs&&... inputs) {
    finish(*make_run<true, void>(journal, std::forward<F>(fn), zipped(std::forward<Inputs>(inputs)...)));
  }

 protected:
  using AnyExecutor::AnyExecutor;

 private:
  template <class... Inputs>
  static auto zipped(Inputs&&... inputs) {
    return detail::ZippedInput<std::views::all_t<Inputs>...>(std::views::all(std::forward<Inputs>(inputs))...);
  }
  template <bool kOrdered, class R, class F, class Input>
  std::unique_ptr<detail::MapRun<R>> make_run(const MapOptions& options, F&& fn, Input input) {
    return std::make_unique<detail::MapRunOf<Calls, R, std::decay_t<F>, Input, kOrdered>>(
        shared_core(), options, std::forward<F>(fn), std::move(input));
  }
  template <bool kOrdered, class R, std::same_as<Journal> J, class F, class Input>
  std::unique_ptr<detail::MapRun<R>> make_run(const J& journal, F&& fn, Input input) {
    return std::make_unique<detail::JournalRun<Calls, R, std::decay_t<F>, Input, kOrdered>>(
        shared_core(), journal.file, journal.version, journal.map, std::forward<F>(fn), std::move(input));
  }
  template <bool kOrdered, class R, class Options, class F, class Input>
  MapResults<R> begin_map(const Options& options, F&& fn, Input input) {
    static_assert(!std::is_void_v<R>, "tandem: the function gives no result to read: use for_each()");
    return MapResults<R>(make_run<kOrdered, R>(options, std::forward<F>(fn), std::move(input)));
  }
  /// For for_each().
  static void finish(detail::MapRun<void>& run) {
    std::exception_ptr first;
    while (auto chunk = run.next())
      if (!first && !chunk->failures.empty()) first = chunk->failures.front().error;
    if (first) std::rethrow_exception(first);
  }
};

/// A pool of threads. Owner: move-only; its destructor waits until everything that was submitted is done.
///
///   tandem::ThreadExecutor executor;                       // ThreadExecutor -> ProcessExecutor: nothing else changes
///   tandem::Future<int> answer = executor.submit(solve, 42);
///   for (double area : executor.map(area_of, shapes)) total += area;
///   int value = answer.get();
///
/// A task may submit others to its own executor and wait for them: it runs those that nobody has begun itself, so
/// that a full pool does not stand still.
///
/// Threads: every member may be called at once from any thread, except the destructor and moving. In a process forked
/// off, the executor is void: members throw StateError and the destructor does nothing.
/// Memory ordering: what happened before submit() happens before the call; see Future for its result.
/// Errors: ExecutorShutDown, BrokenExecutor, BacklogFull from submit() and map(); std::system_error if no thread can be
/// started at all.
/// Leaving main waits for what was submitted, as if the executor were shut down there.
/// Cost: submit() one allocation; nothing is copied but callable and arguments, and nothing is turned into bytes.
class ThreadExecutor : public BasicExecutor<detail::LocalCalls> {
 public:
  /// A pool that starts threads when there is work for them.
  ThreadExecutor() : ThreadExecutor(ExecutorOptions()) {}
  /// Throws std::invalid_argument for no workers at all.
  explicit ThreadExecutor(std::size_t workers) : ThreadExecutor(ExecutorOptions{.workers = workers}) {}
  /// Throws std::invalid_argument for an option that makes no sense, or a limit that threads cannot keep.
  explicit ThreadExecutor(ExecutorOptions options)
      : BasicExecutor(detail::make_thread_executor(std::move(options), nullptr)) {}
  /// Each worker calls `initializer(arguments...)` before its first task; the arguments are copied for each. If it
  /// throws, the executor is broken: what waits and what is submitted later fails with BrokenExecutor, which holds the
  /// reason.
  template <class F, class... Args>
  ThreadExecutor(ExecutorOptions options, F&& initializer, Args&&... arguments)
      : BasicExecutor(detail::make_thread_executor(
            std::move(options),
            [fn = std::decay_t<F>(std::forward<F>(initializer)),
             args = std::tuple<std::decay_t<Args>...>(std::forward<Args>(arguments)...)] { std::apply(fn, args); })) {}
};

/// A pool of processes. Owner: move-only; its destructor waits until everything that was submitted is done.
///
///   tandem::ProcessExecutor executor;                      // what a task does to its process harms no other task
///   tandem::Future<Page> page = executor.submit(parse, std::string(text));
///   for (double area : executor.map(area_of, shapes)) total += area;
///
/// It has the members of ThreadExecutor. Callables, arguments and results must be able to travel (see wire.hpp);
/// arguments are encoded by submit(), so what cannot be encoded fails there. An exception comes back as its own type if
/// that is of the standard library or of Tandem, else as RemoteError. A stop token says nothing to a task here: one
/// that is stopped gets SIGTERM, and SIGKILL when ExecutorOptions::terminate_grace is over.
///
/// A task may make a pool of its own. All workers of the pools of one process, and of the pools inside of these
/// workers, share one CPU budget (cpu_count(), or the most workers that a pool outside of workers was given): no more
/// of them run at once. A worker that waits in Tandem, or sleeps in something else for long, lets another one run: also
/// one that waits for a ThreadExecutor of its own, whose threads the budget does not count.
///
/// Threads: every member may be called at once from any thread, except the destructor and moving. In a process forked
/// off, the executor is void: members throw StateError and the destructor does nothing. Callbacks of futures run in the
/// pool's one thread: they must not wait for other tasks of the pool.
/// Killed peers: a worker that crashes, is killed or leaves costs the task that it runs and no other one: that future
/// fails with TaskCrashed, which holds the crash report, unless TaskOptions::retries allows another attempt. The worker
/// is replaced. No task is begun twice otherwise. When the executor's process is gone, however it went, its workers are
/// killed by the kernel at once.
/// Memory ordering: what happened before submit() is seen by the call in shared objects; what the call did there is
/// seen by who has its result. Errors: ExecutorShutDown, BrokenExecutor, BacklogFull from submit() and map(), WireError
/// for what cannot be encoded; NotInitialized, std::system_error if no process can be started at all. Futures fail with
/// TaskCrashed, OutOfMemory, CpuTimeExceeded, DeadlineExceeded, or what the task threw. Leaving main waits for what was
/// submitted, as if the executor were shut down there. SIGINT (Ctrl-C), unless it is handled, ends the program and all
/// of its workers with one line on standard error. Cost: a task about 1 us if many are on their way; 4 copies of its
/// arguments and of its result at the most, 3 if they are large. Workers are started when there is work for them, at
/// what Process::start() costs.
class ProcessExecutor : public BasicExecutor<detail::RemoteCalls> {
 public:
  /// A pool that starts processes when there is work for them.
  ProcessExecutor() : ProcessExecutor(ExecutorOptions()) {}
  /// Throws std::invalid_argument for no workers at all.
  explicit ProcessExecutor(std::size_t workers) : ProcessExecutor(ExecutorOptions{.workers = workers}) {}
  /// Throws std::invalid_argument for an option that makes no sense.
  explicit ProcessExecutor(ExecutorOptions options)
      : BasicExecutor(detail::make_process_executor(std::move(options), nullptr)) {}
  /// Each worker calls `initializer(arguments...)` before its first task. If it throws, or the worker dies in it, the
  /// executor is broken: what waits and what is submitted later fails with BrokenExecutor, which holds the reason.
  template <class F, class... Args>
  ProcessExecutor(ExecutorOptions options, F&& initializer, Args&&... arguments)
      : BasicExecutor(make(std::move(options), std::forward<F>(initializer), std::forward<Args>(arguments)...)) {}

 private:
  template <class F, class... Args>
  static std::shared_ptr<detail::ExecutorCore> make(ExecutorOptions options, F&& initializer, Args&&... arguments) {
    detail::Encoder call;
    detail::encode_call<F, Args...>(call, initializer, arguments...);
    return detail::make_process_executor(std::move(options), &call);
  }
};

}  // namespace tandem
