/// A task of a client in an executor of its agent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <typeinfo>
#include <vector>

#include <tandem/detail/executor_base.hpp>
#include <tandem/detail/remote_task.hpp>

#include "cluster/cluster_entry.hpp"

namespace tandem::detail {

/// What it gives are bytes, which only the client can read.
class LeasedTask final : public ResultState<std::vector<std::byte>>, public RemoteTask {
 public:
  LeasedTask(std::span<const std::byte> payload, const NodeValues& values);

  FutureState::Outcome take_result(Decoder& result) noexcept override;
  const std::type_info& callable_type() const noexcept override { return typeid(LeasedTask); }
  /// Of the process that ran it, behind the result.
  std::int32_t pid() const noexcept { return pid_; }

 private:
  ~LeasedTask() override = default;
  std::int32_t pid_ = 0;
};
using LeasedTaskPtr = StatePtr<LeasedTask>;

}  // namespace tandem::detail
