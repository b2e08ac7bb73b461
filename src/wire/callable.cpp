#include <tandem/callable.hpp>

namespace tandem::detail {

int run_call(Decoder& decoder, std::stop_token stop_token, const std::function<void()>& arrived) {
  const auto entry = reinterpret_cast<CallEntry>(decoder.read_code());
  return entry(decoder, std::move(stop_token), arrived);
}

}  // namespace tandem::detail
