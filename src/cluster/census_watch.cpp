#include "cluster/census_watch.hpp"

namespace tandem::detail {

bool CensusWatch::is_loss(const Census& census, std::size_t messages) {
  const bool forgot = generation_ && *generation_ != census.generation;
  generation_ = census.generation;
  if (census.tasks + census.results >= messages) {
    looks_ = 0;
    return false;
  }
  // Twice: a task that ends is in two places, or in none, for a moment.
  if (++looks_ < 2 && !forgot) return false;
  looks_ = 0;
  return true;
}

}  // namespace tandem::detail
