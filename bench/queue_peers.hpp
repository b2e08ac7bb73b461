/// The queues that flow.hpp sends messages through. Each ends with a message that says so, for each consumer one, but
/// for ZeroMQ: there nobody knows which consumer gets it.
#pragma once

#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tandem/queue.hpp>

#include "flow.hpp"

#ifdef TANDEM_BENCH_BOOST
#include <boost/interprocess/ipc/message_queue.hpp>
#endif
#ifdef TANDEM_BENCH_TBB
#include <oneapi/tbb/concurrent_queue.h>
#endif
#ifdef TANDEM_BENCH_ZMQ
#include <zmq.hpp>
#endif

namespace tandem::bench {

/// A queue that has put() and get(): the ends that flow.hpp wants.
template <class AnyQueue>
struct Ends {
  struct Producer {
    Producer(AnyQueue& queue, Tally&, int) : queue_(queue) {}
    template <class Message>
    void put(const Message& message) {
      queue_.put(message);
    }
    void finish() {
      typename AnyQueue::Message end;
      stamp(end, kEnd);
      queue_.put(end);
    }

   private:
    AnyQueue& queue_;
  };
  struct Consumer {
    Consumer(AnyQueue& queue, Tally&, int) : queue_(queue) {}
    template <class Message>
    bool get(Message& message) {
      queue_.get(message);
      return message.words.front() != kEnd;
    }

   private:
    AnyQueue& queue_;
  };
};

template <class AnyMessage>
struct OurQueue : Ends<OurQueue<AnyMessage>> {
  using Message = AnyMessage;
  void put(const Message& message) { queue_.put(message); }
  void get(Message& message) { message = queue_.get(); }

 private:
  Queue<Message> queue_{capacity<Message>()};
};

/// Ours, with put_many and get_many.
template <class AnyMessage>
struct OurBatches {
  using Message = AnyMessage;
  static constexpr std::size_t kBatch = 100;
  Queue<Message> queue{capacity<Message>()};

  class Producer {
   public:
    Producer(OurBatches& batches, Tally&, int) : queue_(batches.queue) { batch_.reserve(kBatch); }
    void put(const Message& message) {
      batch_.push_back(message);
      if (batch_.size() < kBatch) return;
      queue_.put_many(batch_);
      batch_.clear();
    }
    void finish() {
      Message end;
      stamp(end, kEnd);
      batch_.push_back(end);
      queue_.put_many(batch_);
    }

   private:
    Queue<Message>& queue_;
    std::vector<Message> batch_;
  };
  class Consumer {
   public:
    Consumer(OurBatches& batches, Tally&, int) : queue_(batches.queue) {}
    bool get(Message& message) {
      if (next_ == batch_.size()) {
        batch_ = queue_.get_many(kBatch);
        next_ = 0;
      }
      message = batch_[next_++];
      return message.words.front() != kEnd;
    }

   private:
    Queue<Message>& queue_;
    std::vector<Message> batch_;
    std::size_t next_ = 0;
  };
};

#ifdef TANDEM_BENCH_BOOST
/// Boost.Interprocess's message_queue. Its name is removed at once: the sides have inherited it.
class UnnamedBoostQueue {
 public:
  UnnamedBoostQueue(std::size_t capacity, std::size_t message_bytes) {
    namespace ipc = boost::interprocess;
    const std::string name = "tandem_bench_" + std::to_string(::getpid());
    queue_.emplace(ipc::create_only, name.c_str(), capacity, message_bytes);
    ipc::message_queue::remove(name.c_str());
  }
  boost::interprocess::message_queue* operator->() { return &*queue_; }

 private:
  std::optional<boost::interprocess::message_queue> queue_;
};

template <class AnyMessage>
struct BoostQueue : Ends<BoostQueue<AnyMessage>> {
  using Message = AnyMessage;
  explicit BoostQueue(std::size_t capacity = bench::capacity<Message>()) : queue_(capacity, Message::kSize) {}
  void put(const Message& message) { queue_->send(message.words.data(), Message::kSize, 0); }
  void get(Message& message) {
    boost::interprocess::message_queue::size_type size = 0;
    unsigned priority = 0;
    queue_->receive(message.words.data(), Message::kSize, size, priority);
  }

 private:
  UnnamedBoostQueue queue_;
};
#endif

#ifdef TANDEM_BENCH_TBB
/// oneTBB's queue, between threads.
template <class AnyMessage>
struct TbbQueue : Ends<TbbQueue<AnyMessage>> {
  using Message = AnyMessage;
  TbbQueue() { queue_.set_capacity(static_cast<std::ptrdiff_t>(capacity<Message>())); }
  void put(const Message& message) { queue_.push(message); }
  void get(Message& message) { queue_.pop(message); }

 private:
  oneapi::tbb::concurrent_bounded_queue<Message> queue_;
};
#endif

#ifdef TANDEM_BENCH_ZMQ
/// PUSH and PULL over ipc, in the abstract namespace: each consumer has a socket that all producers connect to.
template <class AnyMessage>
struct ZmqQueue {
  using Message = AnyMessage;
  static constexpr int kHighWater = static_cast<int>(capacity<Message>());
  std::string prefix = "ipc://@tandem_bench_" + std::to_string(::getpid()) + "_";

  class Producer {
   public:
    Producer(ZmqQueue& queue, Tally& tally, int pairs) : tally_(tally), pairs_(pairs) {
      while (tally_.consumers_ready < pairs) ::usleep(100);
      socket_.set(zmq::sockopt::sndhwm, kHighWater);
      socket_.set(zmq::sockopt::immediate, true);  // Only connections that stand are sent on.
      for (int index = 0; index < pairs; ++index) socket_.connect(queue.prefix + std::to_string(index));
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLOUT, 0};
      zmq::poll(&item, 1, std::chrono::milliseconds(-1));
    }
    void put(const Message& message) {
      static_cast<void>(socket_.send(zmq::buffer(message.words.data(), Message::kSize), zmq::send_flags::none));
    }
    /// What is still on its way is lost if a producer leaves before all is read.
    void finish() {
      while (tally_.consumers_done < pairs_) ::usleep(100);
    }

   private:
    Tally& tally_;
    int pairs_;
    zmq::context_t context_;
    zmq::socket_t socket_{context_, zmq::socket_type::push};
  };
  class Consumer {
   public:
    Consumer(ZmqQueue& queue, Tally& tally, int index) : tally_(tally) {
      socket_.set(zmq::sockopt::rcvhwm, kHighWater);
      socket_.set(zmq::sockopt::rcvtimeo, 2);
      socket_.bind(queue.prefix + std::to_string(index));
      tally_.consumers_ready.fetch_add(1);
    }
    bool get(Message& message) {
      while (!socket_.recv(zmq::buffer(message.words.data(), Message::kSize))) {
        tally_.seen_while_waiting.fetch_add(std::exchange(seen_, 0));
        if (tally_.producers_done == tally_.consumers_ready && tally_.seen_while_waiting == tally_.sent) return false;
      }
      ++seen_;
      return true;
    }

   private:
    Tally& tally_;
    std::uint64_t seen_ = 0;
    zmq::context_t context_;
    zmq::socket_t socket_{context_, zmq::socket_type::pull};
  };
};
#endif

}  // namespace tandem::bench
