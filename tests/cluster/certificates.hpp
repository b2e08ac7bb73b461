/// Certificates of a test's own.
#pragma once

#include <string>

#include "support/temporary_directory.hpp"

namespace tandem::testing {

/// A certificate and its key, as files. Value.
struct CertificateFiles {
  std::string certificate{};
  std::string key{};
};

/// An authority that signs certificates for an hour, and the folder that they are in. Owner.
class TestAuthority {
 public:
  TestAuthority();

  const std::string& file() const { return files_.certificate; }
  /// `names`: as "IP:127.0.0.1" or "DNS:localhost".
  CertificateFiles sign(const std::string& common_name, const std::string& names) const;

 private:
  const TemporaryDirectory directory_;
  CertificateFiles files_;
};

}  // namespace tandem::testing
