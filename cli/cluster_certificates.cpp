#include "cluster_certificates.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <stdexcept>

namespace tandem::tool {
namespace {

struct Deleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
  void operator()(BIO* memory) const { BIO_free(memory); }
};
template <class T>
using Owner = std::unique_ptr<T, Deleter>;

// An hour, for clocks that differ, before now; and a year behind it, longer than a cluster is up.
constexpr long kBefore_s = -3600;
constexpr long kAfter_s = 366L * 24 * 3600;

void require(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("OpenSSL cannot ") + what);
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owner<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  require(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "extend a certificate");
}

Owner<X509> begin_certificate(EVP_PKEY* key, const std::string& common_name) {
  require(key != nullptr, "make a key");
  Owner<X509> certificate(X509_new());
  X509* made = certificate.get();
  require(made != nullptr && X509_set_version(made, 2) == 1, "make a certificate");
  std::uint64_t serial = 0;
  require(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1, "make random numbers");
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(made), (serial >> 1) | 1);
  X509_gmtime_adj(X509_getm_notBefore(made), kBefore_s);
  X509_gmtime_adj(X509_getm_notAfter(made), kAfter_s);
  X509_set_pubkey(made, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
  return certificate;
}

template <class Write>
std::string text_of(Write write) {
  const Owner<BIO> memory(BIO_new(BIO_s_mem()));
  require(memory != nullptr && write(memory.get()) == 1, "write a certificate");
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

struct CertificateAuthority::Inside {
  Owner<EVP_PKEY> key;
  Owner<X509> certificate;
};

CertificateAuthority::CertificateAuthority(const std::string& common_name) : inside_(std::make_unique<Inside>()) {
  inside_->key.reset(EVP_EC_gen("P-256"));
  inside_->certificate = begin_certificate(inside_->key.get(), common_name);
  X509* const made = inside_->certificate.get();
  X509_set_issuer_name(made, X509_get_subject_name(made));
  extend(made, made, NID_basic_constraints, "critical,CA:TRUE");
  extend(made, made, NID_key_usage, "critical,keyCertSign");
  require(X509_sign(made, inside_->key.get(), EVP_sha256()) != 0, "sign");
}

CertificateAuthority::~CertificateAuthority() = default;

std::string CertificateAuthority::certificate() const {
  return text_of([&](BIO* to) { return PEM_write_bio_X509(to, inside_->certificate.get()); });
}

Certificate CertificateAuthority::sign(const std::string& common_name, const std::string& names) const {
  const Owner<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const Owner<X509> made = begin_certificate(key.get(), common_name);
  X509_set_issuer_name(made.get(), X509_get_subject_name(inside_->certificate.get()));
  extend(made.get(), inside_->certificate.get(), NID_subject_alt_name, names);
  extend(made.get(), inside_->certificate.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  require(X509_sign(made.get(), inside_->key.get(), EVP_sha256()) != 0, "sign");
  return {text_of([&](BIO* to) { return PEM_write_bio_X509(to, made.get()); }), text_of([&](BIO* to) {
            return PEM_write_bio_PrivateKey(to, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

}  // namespace tandem::tool
