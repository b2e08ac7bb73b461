#include "cluster/leased_task.hpp"

#include <exception>
#include <utility>

namespace tandem::detail {

LeasedTask::LeasedTask(std::span<const std::byte> payload, const NodeValues& values)
    : ResultState<std::vector<std::byte>>(static_cast<RemoteTask*>(this)),
      RemoteTask(static_cast<FutureState&>(*this), &enter_cluster_task, nullptr) {
  const EncoderLease lease;
  encode(*lease, values);
  (*lease).write(payload.data(), payload.size());
  payload_.assign(*lease);
}

FutureState::Outcome LeasedTask::take_result(Decoder& result) noexcept {
  try {
    std::vector<std::byte> bytes(result.remaining());
    result.read(bytes.data(), bytes.size());
    pid_ = take_pid(bytes);
    return store(std::move(bytes));
  } catch (...) {
    write_error(std::current_exception());
    return FutureState::Outcome::Error;
  }
}

}  // namespace tandem::detail
