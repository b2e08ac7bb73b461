/// What a Future refers to: the state of one result that is to come, and who waits for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <tandem/detail/deadline.hpp>

namespace tandem::detail {

class FutureState;
class Task;

/// Something to do once a result is there. Owned by the state's list until it is run or taken out.
class Continuation {
 public:
  virtual ~Continuation() = default;
  /// Called once, by the thread that brings the result, or by the one that adds it if the result is there.
  virtual void run(FutureState& state) noexcept = 0;
  /// Whether it is the user's: those run before anybody who waits is woken.
  virtual bool before_waiters() const noexcept { return false; }

 private:
  friend class FutureState;
  Continuation* next_ = nullptr;
};

/// Keeps a state alive.
template <class State>
class StatePtr {
 public:
  StatePtr() noexcept = default;
  explicit StatePtr(State* state) noexcept : state_(state) {
    if (state_ != nullptr) state_->add_reference();
  }
  StatePtr(const StatePtr& other) noexcept : StatePtr(other.state_) {}
  StatePtr(StatePtr&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  StatePtr& operator=(StatePtr other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~StatePtr() {
    if (state_ != nullptr) state_->drop_reference();
  }
  State* get() const noexcept { return state_; }
  State* operator->() const noexcept { return state_; }
  State& operator*() const noexcept { return *state_; }
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  State* state_ = nullptr;
};

/// The state of one result: pending, running, then settled for ever with a value, an error or a cancellation.
///
/// Exactly one of those who may settle it (the worker that ran the task, the clock when its deadline passes, who
/// cancels it) wins claim(); it alone writes the outcome and then calls settle(), which nobody does twice. What was
/// written is seen by all who find done().
///
/// Threads: every member may be called from any thread.
class FutureState {
 public:
  enum class Outcome : std::uint8_t { None, Value, Error, Cancelled };

  /// `task` is what computes it, and lives as long; null if something else does.
  explicit FutureState(Task* task = nullptr) noexcept : task_(task) {}
  FutureState(const FutureState&) = delete;
  FutureState& operator=(const FutureState&) = delete;

  // Begins with one reference, for the first Future.
  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop_reference() noexcept {
    // SYNC(future-end): the last to leave sees all that the others did before it destroys.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // Those who bring the result.
  /// Pending to running. False if it was settled instead.
  bool start() noexcept;
  /// Running to pending, for another attempt. False if it was settled meanwhile.
  bool unstart() noexcept;
  /// Whether the caller is the one who settles it.
  bool claim() noexcept { return claim_from(kPending) || claim_from(kRunning); }
  bool claim_pending() noexcept { return claim_from(kPending); }
  bool claim_running() noexcept { return claim_from(kRunning); }
  /// After a claim, with the outcome written: runs the continuations, wakes those who wait.
  void settle(Outcome outcome) noexcept;
  /// After a claim, before settle(Outcome::Error).
  void write_error(std::exception_ptr error) noexcept { error_ = std::move(error); }
  void settle_error(std::exception_ptr error) noexcept {
    write_error(std::move(error));
    settle(Outcome::Error);
  }

  // Those who want it.
  bool done() const noexcept;
  bool pending() const noexcept { return phase() == kPending; }
  bool running() const noexcept { return phase() == kRunning; }
  /// Meaningful once done().
  Outcome outcome() const noexcept { return outcome_; }
  const std::exception_ptr& error() const noexcept { return error_; }
  /// Waits until it is settled and the user's continuations have run; false if the deadline passes. Without a limit,
  /// does run_here() first.
  bool wait(const Deadline& deadline);
  /// In a task of the executor that is to compute it: runs it if nobody has begun it. Whether it did.
  bool run_here() noexcept;
  /// As wait() without a limit, then throws the error or TaskCancelled if there is no value.
  void wait_for_value();
  /// The error; TaskCancelled as an exception_ptr for a cancellation; null for a value. Only once done().
  std::exception_ptr failure() const;
  /// Cancels it while it is pending; whether it is cancelled, now or before.
  bool cancel() noexcept;
  /// As cancel(), and also stops it while it is running.
  bool stop() noexcept;
  /// Runs it at once if the result is there.
  void add(std::unique_ptr<Continuation> continuation) noexcept;
  bool has_continuations() const noexcept { return (word_.load(std::memory_order_relaxed) & kContinuations) != 0; }
  /// Takes it out again; null if it has run, or is about to.
  std::unique_ptr<Continuation> remove(Continuation* continuation) noexcept;

  Task* task() const noexcept { return task_; }
  /// The result that this one waits for, if it is computed by a continuation of another.
  virtual StatePtr<FutureState> source() noexcept;
  /// For people: the type of the value.
  virtual std::string type_name() const = 0;

 protected:
  virtual ~FutureState();
  std::exception_ptr error_;

 private:
  // The phase is in the low bits; the flags ask for something to be done on settling.
  static constexpr std::uint32_t kPending = 0, kRunning = 1, kSettling = 2, kDone = 3, kPhaseMask = 3;
  static constexpr std::uint32_t kSleepers = 4, kContinuations = 8;

  std::uint32_t phase() const noexcept { return word_.load(std::memory_order_acquire) & kPhaseMask; }
  bool claim_from(std::uint32_t from) noexcept;
  bool change_phase(std::uint32_t from, std::uint32_t to) noexcept;
  void run_continuations(bool before_waiters) noexcept;
  bool settling_here() const noexcept;
  /// This, or the state that it waits for by whatever many continuations.
  StatePtr<FutureState> root() noexcept;
  /// Throws StateError if it can never be done, because this process was forked off.
  void check_process();

  // SYNC(future-outcome): the change to kDone releases what the claimer wrote; whoever reads kDone acquires it.
  std::atomic<std::uint32_t> word_{kPending};
  Outcome outcome_ = Outcome::None;
  std::atomic<std::uint32_t> references_{1};
  Continuation* first_ = nullptr;  // Guarded by one of a few mutexes, chosen by address.
  Task* const task_;
};

/// Within a handler: what a result fails with. tandem::exit() asks to end a thread or a process, and must not end the
/// one that wants the result.
std::exception_ptr error_of_call() noexcept;
/// The same for an error that is at hand.
std::exception_ptr without_exit_request(std::exception_ptr error) noexcept;

std::string readable_type_name(const std::type_info& type);

/// What stands for the result of a function that returns nothing.
struct Nothing {};

/// The state with room for the value.
template <class R>
class ResultState : public FutureState {
 public:
  using Stored = std::conditional_t<std::is_void_v<R>, Nothing, R>;
  using FutureState::FutureState;
  using typename FutureState::Outcome;

  /// After a claim: writes the value, or the error that its move throws. Gives which, for settle().
  template <class... Values>
  Outcome store(Values&&... values) noexcept {
    try {
      value_.emplace(std::forward<Values>(values)...);
      return Outcome::Value;
    } catch (...) {
      this->error_ = std::current_exception();
      return Outcome::Error;
    }
  }
  /// Only once done() with a value.
  Stored& value() noexcept { return *value_; }
  /// Whether the caller may move the value away: once.
  bool take() noexcept { return !taken_.exchange(true, std::memory_order_acq_rel); }
  bool taken() const noexcept { return taken_.load(std::memory_order_acquire); }
  std::string type_name() const override { return readable_type_name(typeid(R)); }

 protected:
  ~ResultState() override = default;

 private:
  std::optional<Stored> value_;
  std::atomic<bool> taken_{false};
};

}  // namespace tandem::detail
