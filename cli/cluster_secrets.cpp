#include "cluster_secrets.hpp"

#include <string>

#include "cluster_certificates.hpp"
#include "cluster_program.hpp"

namespace tandem::tool {

void make_secrets(KeeperOrder& order, const ClusterOptions& options) {
  ClusterRecord& record = order.record;
  auto& variables = order.plan.variables;
  const auto keep = [&](const char* name, const std::string& text) {
    const std::string file = order.folder + "/" + name;
    write_private_file(file, text);
    return file;
  };
  const auto pem_of = [](const std::string& file) {
    return file.starts_with("-----BEGIN") ? file : read_text_file(file);
  };
  std::string token = options.token;
  if (record.own_server) token = random_digits(8);
  if (!token.empty()) {
    record.token_file = keep("token", token + "\n");
    variables["TANDEM_CLUSTER_TOKEN"] = token;
  }
  if (!options.user.empty()) variables["TANDEM_CLUSTER_USER"] = options.user;
  if (!options.password.empty()) variables["TANDEM_CLUSTER_PASSWORD"] = options.password;
  std::string ca, certificate, key;  // What agents and clients get.
  if (options.tls) {
    if (!options.tls->ca_file.empty()) ca = pem_of(options.tls->ca_file);
    if (!options.tls->certificate_file.empty()) {
      certificate = pem_of(options.tls->certificate_file);
      key = pem_of(options.tls->key_file);
    }
  }
  if (record.own_server && order.server.tls) {
    if (certificate.empty()) {
      const CertificateAuthority authority("tandem cluster " + record.name + " " + order.plan.run_id);
      ca = authority.certificate();
      const Certificate server = authority.sign(own_host().substr(0, 63), "IP:" + order.server.address);
      keep("server.pem", server.certificate);
      keep("server.key", server.key);
      if (order.server.mutual) {
        const Certificate member = authority.sign("tandem member", "DNS:tandem-member");
        certificate = member.certificate;
        key = member.key;
      }
    } else {
      keep("server.pem", certificate);
      keep("server.key", key);
      certificate.clear();
      key.clear();
    }
  }
  if (!ca.empty()) {
    record.ca_file = keep("ca.pem", ca);
    variables["TANDEM_CLUSTER_CA"] = ca;
  }
  if (!certificate.empty()) {
    record.certificate_file = keep("member.pem", certificate);
    record.key_file = keep("member.key", key);
    variables["TANDEM_CLUSTER_CERTIFICATE"] = certificate;
    variables["TANDEM_CLUSTER_KEY"] = key;
  }
}

}  // namespace tandem::tool
