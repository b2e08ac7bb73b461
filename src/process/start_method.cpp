#include <tandem/start_method.hpp>

#include <array>
#include <atomic>
#include <stdexcept>
#include <string>

namespace tandem {
namespace {

struct Name {
  StartMethod method;
  std::string_view name;
};
constexpr std::array<Name, 3> kNames = {
    {{StartMethod::ForkServer, "forkserver"}, {StartMethod::Spawn, "spawn"}, {StartMethod::Fork, "fork"}}};

std::atomic<StartMethod> default_method{StartMethod::ForkServer};
std::atomic<ForkThreadPolicy> fork_policy{ForkThreadPolicy::Warn};

}  // namespace

void set_start_method(StartMethod method) {
  if (to_string(method).empty())
    throw std::invalid_argument("no start method has the number " + std::to_string(static_cast<int>(method)));
  default_method.store(method, std::memory_order_relaxed);
}

StartMethod start_method() noexcept {
  return default_method.load(std::memory_order_relaxed);
}

std::string_view to_string(StartMethod method) noexcept {
  for (const Name& known : kNames)
    if (known.method == method) return known.name;
  return {};
}

StartMethod parse_start_method(std::string_view name) {
  for (const Name& known : kNames)
    if (known.name == name) return known.method;
  throw std::invalid_argument("unknown start method \"" + std::string(name) +
                              "\": there are forkserver, spawn and fork");
}

void set_fork_thread_policy(ForkThreadPolicy policy) {
  if (policy != ForkThreadPolicy::Warn && policy != ForkThreadPolicy::Refuse && policy != ForkThreadPolicy::Allow)
    throw std::invalid_argument("no fork thread policy has the number " + std::to_string(static_cast<int>(policy)));
  fork_policy.store(policy, std::memory_order_relaxed);
}

ForkThreadPolicy fork_thread_policy() noexcept {
  return fork_policy.load(std::memory_order_relaxed);
}

}  // namespace tandem
