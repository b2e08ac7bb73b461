/// The token and the certificates of a cluster.
#pragma once

#include <tandem/cluster_options.hpp>

#include "cluster_keeper_messages.hpp"

namespace tandem::tool {

/// Makes those of a server that is started, and takes what else is needed from `options`. They are then in files of the
/// order's folder, which its record names, and among the variables of its agents. Throws BadInput for a file that
/// cannot be read, std::system_error and std::runtime_error.
void make_secrets(KeeperOrder& order, const ClusterOptions& options);

}  // namespace tandem::tool
