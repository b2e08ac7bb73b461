/// An authority of certificates for one cluster.
#pragma once

#include <memory>
#include <string>

namespace tandem::tool {

/// In PEM form. Value.
struct Certificate {
  std::string certificate{};
  std::string key{};
};

/// Signs the certificates of a server and of those that talk to it. Its own key is in this object only. Owner.
class CertificateAuthority {
 public:
  /// Throws std::runtime_error if OpenSSL cannot.
  explicit CertificateAuthority(const std::string& common_name);
  ~CertificateAuthority();
  CertificateAuthority(const CertificateAuthority&) = delete;
  CertificateAuthority& operator=(const CertificateAuthority&) = delete;

  /// What others check a certificate by.
  std::string certificate() const;
  /// `names` as in OpenSSL's subjectAltName: "DNS:head,IP:10.0.0.1".
  Certificate sign(const std::string& common_name, const std::string& names) const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace tandem::tool
