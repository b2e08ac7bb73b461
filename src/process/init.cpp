#include <tandem/init.hpp>
#include <tandem/log.hpp>

#include <atomic>
#include <utility>

#include "process/child_main.hpp"
#include "process/children.hpp"
#include "process/executed_child.hpp"
#include "process/server_link.hpp"
#include "process/this_process.hpp"
#include "thread/process_exit.hpp"

namespace tandem {
namespace {

std::atomic<bool> initialized{false};

}  // namespace

bool detail::is_initialized() noexcept {
  return initialized.load(std::memory_order_relaxed);
}

void init() {
  if (initialized.exchange(true)) return;
  // Early, so that static objects made from here on outlive the children.
  detail::arm_process_exit();
  detail::on_process_exit(detail::end_children);
  detail::Seat seat = detail::take_seat();
  switch (seat.as) {
    case detail::ExecutedAs::Program:
      static_cast<void>(log_level());  // A mistake in TANDEM_LOG is said now.
      return;
    case detail::ExecutedAs::Server:
      detail::run_fork_server(std::move(seat.socket));
    case detail::ExecutedAs::Child:
      detail::run_portable_child(
          {seat.parcel, std::move(seat.arguments), std::move(seat.socket), detail::Leave::ByExit});
  }
}

}  // namespace tandem
