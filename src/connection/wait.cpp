#include <tandem/wait.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "connection/channel.hpp"
#include "core/blocking.hpp"
#include "ipc/family.hpp"
#include "ipc/wait_source.hpp"
#include "process/children.hpp"
#include "sync/event_state.hpp"

namespace tandem {
namespace detail {
namespace {

class DescriptorSource final : public WaitSource {
 public:
  explicit DescriptorSource(int fd) : fd_(fd) {}
  Descriptor descriptor() override { return {fd_}; }

 private:
  const int fd_;
};

class ConnectionSource final : public WaitSource {
 public:
  explicit ConnectionSource(const Connection& connection) : connection_(connection) {
    const Channel& channel = ChannelAccess::channel(connection_);
    if (!channel.direction().readable) throw StateError("wait() for the sending end of a one-way pipe");
  }
  Descriptor descriptor() override {
    PinnedFd fd = ChannelAccess::channel(connection_).pin();
    return {fd->get(), std::move(fd)};
  }

 private:
  const Connection connection_;
};

/// A thread that ends a sleep of the caller, of whom it takes over a part. Owner, for the length of the call.
class HelperThread {
 public:
  /// Throws std::system_error if the system gives no thread.
  template <class Body>
  explicit HelperThread(Body body) {
    sigset_t all, before;
    sigfillset(&all);
    // The program's handlers run in its own threads.
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread_ = std::thread(std::move(body));
    } catch (...) {
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    Children::instance().own_threads.fetch_add(1, std::memory_order_relaxed);
  }
  ~HelperThread() {
    thread_.join();
    Children::instance().own_threads.fetch_sub(1, std::memory_order_relaxed);
  }
  HelperThread(const HelperThread&) = delete;
  HelperThread& operator=(const HelperThread&) = delete;

 private:
  std::thread thread_;
};

void fire(std::atomic<std::uint32_t>& word) {
  word.store(1, std::memory_order_release);
  futex_wake(word, INT_MAX);
}

/// Polls descriptors in a thread and fires a word when one is ready. Owner.
class PollThread {
 public:
  explicit PollThread(std::vector<pollfd> descriptors) : stop_(above_standard(Fd(::eventfd(0, EFD_CLOEXEC)))) {
    if (!stop_) throw_errno("cannot make the descriptor that ends a wait");
    descriptors.push_back({stop_.get(), POLLIN, 0});
    thread_.emplace([this, polled = std::move(descriptors)]() mutable {
      retry_on_signal([&] { return ::poll(polled.data(), polled.size(), -1); });
      fire(fired_);
    });
  }
  ~PollThread() {
    const std::uint64_t one = 1;
    retry_on_signal([&] { return ::write(stop_.get(), &one, sizeof one); });
  }
  PollThread(const PollThread&) = delete;
  PollThread& operator=(const PollThread&) = delete;

  std::atomic<std::uint32_t>& fired() { return fired_; }

 private:
  Fd stop_;
  std::atomic<std::uint32_t> fired_{0};
  std::optional<HelperThread> thread_;  // Last: it ends first.
};

/// One call of wait().
class WaitCall {
 public:
  explicit WaitCall(std::span<const Waitable> things) : things_(things) {}

  std::vector<std::size_t> run(const Deadline& deadline) {
    for (;;) {
      std::vector<std::size_t> ready = look();
      if (!ready.empty() || deadline.passed()) return ready;
      if (words_.empty()) {
        sleep_on_descriptors(deadline);
      } else {
        sleep_on_words(deadline);
      }
      sweep_family_if_due();
    }
  }

 private:
  std::vector<std::size_t> look() {
    descriptors_.clear();
    words_.clear();
    keepers_.clear();
    std::vector<std::size_t> ready;
    std::vector<std::size_t> places;  // Of the descriptors.
    for (std::size_t i = 0; i < things_.size(); ++i) {
      WaitSource& source = things_[i].source();
      WaitSource::Descriptor descriptor = source.descriptor();
      if (descriptor.fd >= 0) {
        descriptors_.push_back({descriptor.fd, POLLIN, 0});
        keepers_.push_back(std::move(descriptor.keeper));
        places.push_back(i);
      } else {
        words_.push_back(&source);
        if (source.ready()) ready.push_back(i);
      }
    }
    if (descriptors_.empty()) return ready;
    retry_on_signal([&] { return ::poll(descriptors_.data(), descriptors_.size(), 0); });
    for (std::size_t i = 0; i < descriptors_.size(); ++i) {
      if ((descriptors_[i].revents & POLLNVAL) != 0)
        throw std::invalid_argument("descriptor " + std::to_string(descriptors_[i].fd) + " is not open");
      if (descriptors_[i].revents != 0) ready.push_back(places[i]);
    }
    std::sort(ready.begin(), ready.end());
    return ready;
  }

  void sleep_on_descriptors(const Deadline& deadline) {
    const BlockingSection blocking;
    const auto left = std::chrono::ceil<std::chrono::nanoseconds>(deadline.left(kLongestSleep));
    const timespec limit{static_cast<time_t>(left.count() / 1'000'000'000),
                         static_cast<long>(left.count() % 1'000'000'000)};
    static_cast<void>(::ppoll(descriptors_.data(), descriptors_.size(), &limit, nullptr));
  }

  void sleep_on_words(const Deadline& deadline) {
    /// Whatever happens, those who were prepared are resumed.
    struct Prepared {
      std::vector<WaitSource*> sources;
      std::vector<FutexWait> waits;
      ~Prepared() {
        for (WaitSource* const source : sources) source->resume();
      }
    } prepared;
    for (WaitSource* const source : words_) {
      const std::optional<FutexWait> sleep = source->prepare();
      if (!sleep) return;
      prepared.sources.push_back(source);
      prepared.waits.push_back(*sleep);
    }
    if (std::atomic<std::uint32_t>* const fired = poll_in_a_thread()) prepared.waits.push_back({fired, 0});
    sleep_on(prepared.waits, deadline);
  }

  // For the length of the call, unless it has fired for something that another receiver took.
  std::atomic<std::uint32_t>* poll_in_a_thread() {
    if (descriptors_.empty()) return nullptr;
    if (poll_thread_ && poll_thread_->fired().load(std::memory_order_acquire) != 0) poll_thread_.reset();
    try {
      if (!poll_thread_) poll_thread_.emplace(descriptors_);
    } catch (const std::system_error&) {
      return nullptr;  // The system gives no thread: then the descriptors are looked at when the round is over.
    }
    return &poll_thread_->fired();
  }

  // The kernel takes so many words from one thread; what is more, others sleep on.
  static void sleep_on(std::span<const FutexWait> waits, const Deadline& deadline) {
    if (waits.size() <= kMostFutexes) {
      static_cast<void>(futex_wait_any(waits, deadline));
      return;
    }
    std::atomic<std::uint32_t> over{0};
    const auto take_part = [&over, &deadline](std::span<const FutexWait> part) {
      std::vector<FutexWait> mine(part.begin(), part.end());
      mine.insert(mine.begin(), FutexWait{&over, 0});
      static_cast<void>(futex_wait_any(mine, deadline));
      fire(over);
    };
    constexpr std::size_t kPart = kMostFutexes - 1;
    std::vector<std::unique_ptr<HelperThread>> helpers;
    std::span<const FutexWait> rest = waits.subspan(kPart);
    try {
      for (; !rest.empty(); rest = rest.subspan(std::min(kPart, rest.size())))
        helpers.push_back(std::make_unique<HelperThread>(
            [&take_part, part = rest.first(std::min(kPart, rest.size()))] { take_part(part); }));
    } catch (const std::system_error&) {
      // As above.
    }
    take_part(waits.first(kPart));
  }

  const std::span<const Waitable> things_;
  std::vector<pollfd> descriptors_;
  std::vector<WaitSource*> words_;
  std::vector<std::shared_ptr<const void>> keepers_;  // Of the descriptors.
  std::optional<PollThread> poll_thread_;
};

}  // namespace

std::vector<std::size_t> wait_for_any(std::span<const Waitable> things, const Deadline& deadline) {
  if (things.empty() && deadline.is_never()) throw std::invalid_argument("wait() for nothing would never end");
  return WaitCall(things).run(deadline);
}

}  // namespace detail

Waitable::Waitable(const Connection& connection) : source_(std::make_shared<detail::ConnectionSource>(connection)) {}
Waitable::Waitable(const Event& event) : source_(detail::event_wait_source(detail::HandleAccess::object(event))) {}
Waitable::Waitable(const Process& process) : Waitable(process.sentinel()) {}
Waitable::Waitable(const Descriptor& descriptor) : Waitable(descriptor.get()) {}
Waitable::Waitable(int fd) : source_(std::make_shared<detail::DescriptorSource>(fd)) {
  if (fd < 0) throw std::invalid_argument("wait() for descriptor " + std::to_string(fd) + ", which is none");
}

}  // namespace tandem
