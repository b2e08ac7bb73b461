/// The life of a worker process of a pool.
#pragma once

#include <cstdint>
#include <optional>

#include "executor/worker_messages.hpp"

namespace tandem::detail {

/// What a worker is given. Value; travels.
struct WorkerSetup {
  std::uint64_t worker = 0;
  std::uint64_t memory_bytes = 0;  ///< Above this it leaves behind a task; 0: never.
  template <class Archive>
  void serialize(Archive& archive) {
    archive(worker, memory_bytes);
  }
};

/// Takes tasks until the queue is closed. Returns the exit code.
int run_worker(const WorkerSetup& setup, tandem::Queue<TaskQueueItem> tasks, tandem::Queue<ResultQueueItem> results,
               RecordRef record, RecordRef budget, const std::optional<ParcelRef>& initializer);

}  // namespace tandem::detail
