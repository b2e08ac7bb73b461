#include "cluster/certificates.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <stdexcept>

namespace tandem::testing {
namespace {

struct Deleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
  void operator()(std::FILE* file) const { std::fclose(file); }
};
template <class T>
using Owner = std::unique_ptr<T, Deleter>;

void require(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("OpenSSL cannot ") + what);
}

Owner<std::FILE> open_file(const std::string& path, const char* mode) {
  Owner<std::FILE> file(std::fopen(path.c_str(), mode));
  require(file != nullptr, "open a file");
  return file;
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owner<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  require(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "extend a certificate");
}

Owner<X509> begin_certificate(EVP_PKEY* key, const std::string& common_name, long serial) {
  Owner<X509> certificate(X509_new());
  X509* made = certificate.get();
  require(made != nullptr && X509_set_version(made, 2) == 1, "make a certificate");
  ASN1_INTEGER_set(X509_get_serialNumber(made), serial);
  X509_gmtime_adj(X509_getm_notBefore(made), -60);
  X509_gmtime_adj(X509_getm_notAfter(made), 3600);
  X509_set_pubkey(made, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
  return certificate;
}

void write(X509* certificate, EVP_PKEY* key, const CertificateFiles& files) {
  require(PEM_write_X509(open_file(files.certificate, "w").get(), certificate) == 1, "write a certificate");
  require(PEM_write_PrivateKey(open_file(files.key, "w").get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "write a key");
}

}  // namespace

TestAuthority::TestAuthority() : directory_("certificates") {
  files_ = {directory_.path() / "ca.pem", directory_.path() / "ca.key"};
  const Owner<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const Owner<X509> certificate = begin_certificate(key.get(), "Tandem test CA", 1);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  extend(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  require(X509_sign(certificate.get(), key.get(), EVP_sha256()) != 0, "sign");
  write(certificate.get(), key.get(), files_);
}

CertificateFiles TestAuthority::sign(const std::string& common_name, const std::string& names) const {
  const Owner<EVP_PKEY> ca_key(PEM_read_PrivateKey(open_file(files_.key, "r").get(), nullptr, nullptr, nullptr));
  const Owner<X509> ca(PEM_read_X509(open_file(files_.certificate, "r").get(), nullptr, nullptr, nullptr));
  require(ca_key != nullptr && ca != nullptr, "read the CA");
  const Owner<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const Owner<X509> certificate = begin_certificate(key.get(), common_name, 2);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(ca.get()));
  extend(certificate.get(), ca.get(), NID_subject_alt_name, names);
  extend(certificate.get(), ca.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  require(X509_sign(certificate.get(), ca_key.get(), EVP_sha256()) != 0, "sign");
  CertificateFiles files{directory_.path() / (common_name + ".pem"), directory_.path() / (common_name + ".key")};
  write(certificate.get(), key.get(), files);
  return files;
}

}  // namespace tandem::testing
