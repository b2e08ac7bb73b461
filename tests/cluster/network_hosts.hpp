/// Network namespaces that stand for machines: what is sent between them can be cut.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace tandem::testing {

/// The path of iproute2's program. Throws std::runtime_error if there is none.
std::string find_ip();

/// Namespaces that are joined by a bridge, which the test's own namespace has an address on as well. Needs root, and
/// the right to make namespaces. Owner: takes all of it away, also what a test before left that was killed.
class NetworkHosts {
 public:
  /// Throws std::runtime_error with what was said if it may not be made.
  explicit NetworkHosts(std::size_t count);
  ~NetworkHosts();
  NetworkHosts(const NetworkHosts&) = delete;
  NetworkHosts& operator=(const NetworkHosts&) = delete;

  /// The name of the namespace.
  const std::string& network(std::size_t at) const { return networks_.at(at); }
  std::string address(std::size_t at) const { return subnet_ + std::to_string(at + 1); }
  /// That of the test.
  std::string own_address() const { return subnet_ + "254"; }
  /// Takes the host's link down, and up again.
  void cut(std::size_t at) const;
  void join(std::size_t at) const;

 private:
  void remove() const noexcept;

  std::string subnet_;
  std::string bridge_;
  std::vector<std::string> networks_;
  std::vector<std::string> links_;
};

}  // namespace tandem::testing
