/// The cluster that `tandem compare --where cluster` measures.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tandem/compare.hpp>

namespace tandem::tool {

/// Owner: a local cluster ends with it.
class ComparedCluster {
 public:
  /// A local cluster with so many slots, or the one that is named by its name or a url. Throws BadInput, ClusterError.
  ComparedCluster(const std::optional<std::string>& name_or_url, std::size_t slots);
  ~ComparedCluster();
  ComparedCluster(const ComparedCluster&) = delete;
  ComparedCluster& operator=(const ComparedCluster&) = delete;

  /// Has the comparison measure it.
  void join(CompareOptions& options);

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace tandem::tool
