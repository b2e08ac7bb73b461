/// The executors of this process.
#pragma once

#include <cstdint>
#include <memory>

namespace tandem::detail {

class ExecutorCore;

std::uint64_t next_executor_id() noexcept;
/// Makes it known, so that the exit of the process shuts it down. Throws StateError if that has begun.
void register_executor(const std::shared_ptr<ExecutorCore>& core);
void forget_executor(std::uint64_t id) noexcept;
/// Null if it is gone.
std::shared_ptr<ExecutorCore> find_executor(std::uint64_t id) noexcept;

}  // namespace tandem::detail
