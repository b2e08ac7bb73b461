#include <algorithm>
#include <array>
#include <tandem/compare.hpp>

namespace tandem {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"serial", "threads", "gil", "processes", "cluster"};

}  // namespace

std::string_view to_string(Where where) noexcept {
  return kNames[static_cast<std::size_t>(where)];
}

std::optional<Where> parse_where(std::string_view text) noexcept {
  const auto* const found = std::find(kNames.begin(), kNames.end(), text);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Where>(found - kNames.begin());
}

}  // namespace tandem
