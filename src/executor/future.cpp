#include <tandem/future.hpp>

#include <stdexcept>

#include "core/demangle.hpp"
#include "core/exception_text.hpp"
#include "thread/excepthook.hpp"
#include "thread/thread_registry.hpp"

namespace tandem {
namespace detail {

std::string readable_type_name(const std::type_info& type) {
  return demangle(type.name());
}

void report_callback(const std::exception_ptr& exception) noexcept {
  report_uncaught(*ThreadRegistry::instance().current(), exception);
}

void wait_for_states(std::span<FutureState* const> states, Until until, const Deadline& deadline) {
  if (until == Until::All) {
    for (FutureState* const state : states)
      if (!state->wait(deadline)) return;
    return;
  }
  if (until == Until::Any && states.empty()) throw std::invalid_argument("there is no future to wait for the first of");
  Completions completions;
  for (std::size_t place = 0; place < states.size(); ++place) completions.watch(*states[place], place);
  for (std::size_t left = states.size(); left > 0; --left) {
    const std::optional<std::size_t> place = completions.next(deadline);
    if (!place || until == Until::Any || states[*place]->outcome() != FutureState::Outcome::Value) return;
  }
}

}  // namespace detail

std::string_view to_string(FutureStatus status) noexcept {
  switch (status) {
    case FutureStatus::Pending:
      return "pending";
    case FutureStatus::Running:
      return "running";
    case FutureStatus::Finished:
      return "finished";
    case FutureStatus::Failed:
      return "failed";
    case FutureStatus::Cancelled:
      return "cancelled";
  }
  return "?";
}

FutureStatus AnyFuture::status() const {
  const detail::FutureState& of = state();
  if (!of.done()) return of.pending() ? FutureStatus::Pending : FutureStatus::Running;
  switch (of.outcome()) {
    case detail::FutureState::Outcome::Value:
      return FutureStatus::Finished;
    case detail::FutureState::Outcome::Cancelled:
      return FutureStatus::Cancelled;
    default:
      return FutureStatus::Failed;
  }
}

bool AnyFuture::cancelled() const {
  return status() == FutureStatus::Cancelled;
}

std::string AnyFuture::to_string() const {
  if (!valid()) return "<Future(empty)>";
  const FutureStatus now = status();
  std::string text = "<Future(" + std::string(tandem::to_string(now));
  if (now == FutureStatus::Finished) text += " " + state().type_name();
  if (now == FutureStatus::Failed) {
    const detail::ExceptionInfo info = detail::describe_exception(state().error());
    text += " " + info.type_name + ": " + info.what;
  }
  return text + ")>";
}

}  // namespace tandem
