#include "cluster/nats_heard_clients.hpp"

namespace tandem::detail {
namespace {

// A task of a client that is silent is put off for so many parts of the time after which one is, and dropped after all
// but one of them.
constexpr int kLooksAtSilent = 3;
constexpr std::size_t kMaxClients = 100'000;

}  // namespace

void NatsHeardClients::hear(const std::string& client, bool ended, std::chrono::milliseconds silence) {
  missed_.erase(client);
  const auto found = heard_.find(client);
  if (found == heard_.end() && heard_.size() >= kMaxClients) return;
  Heard& heard = found != heard_.end() ? found->second : heard_[client];
  if (found == heard_.end()) heard.silence = silence_;
  heard.at = Clock::now();
  heard.ended = ended;
  if (!ended) heard.silence = silence.count() > 0 ? silence : silence_;
}

bool NatsHeardClients::is_silent(const std::string& client) const {
  const auto heard = heard_.find(client);
  return is_silent(heard != heard_.end() ? &heard->second : nullptr);
}

bool NatsHeardClients::is_silent(const Heard* heard) const {
  if (heard != nullptr && heard->ended) return true;
  const Clock::time_point since = Clock::now() - (heard != nullptr ? heard->silence : silence_);
  return listening_since_ <= since && (heard == nullptr || heard->at < since);
}

std::optional<std::chrono::milliseconds> NatsHeardClients::put_off_for(const std::string& client) {
  const auto heard = heard_.find(client);
  if (heard != heard_.end() && heard->second.ended) return std::nullopt;
  const std::chrono::milliseconds part = (heard != heard_.end() ? heard->second.silence : silence_) / kLooksAtSilent;
  const Clock::time_point now = Clock::now();
  if (missed_.size() >= kMaxClients) missed_.clear();
  const Clock::time_point since = missed_.emplace(client, now).first->second;
  return now - since < part * (kLooksAtSilent - 1) ? std::optional(part) : std::nullopt;
}

void NatsHeardClients::serve(const std::string& client) {
  if (heard_.size() < kMaxClients)
    heard_.try_emplace(client, Heard{Clock::now(), silence_}).first->second.served = true;
}

std::vector<std::string> NatsHeardClients::take_dead() {
  std::vector<std::string> dead;
  const Clock::time_point now = Clock::now();
  std::erase_if(heard_, [&](const auto& heard) {
    if (!is_silent(&heard.second) || now - heard.second.at < heard.second.silence) return false;
    if (heard.second.served) dead.push_back(heard.first);
    return true;
  });
  return dead;
}

}  // namespace tandem::detail
