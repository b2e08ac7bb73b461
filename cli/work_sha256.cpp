#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <stdexcept>

#include "input_file.hpp"
#include "text.hpp"
#include "work.hpp"

namespace tandem::tool {
namespace {

using Digest = std::array<unsigned char, 32>;

/// A file and its place among those that the user named.
using NumberedFile = std::pair<std::uint64_t, InputFile>;
using NumberedDigest = std::pair<std::uint64_t, Digest>;

Digest sha256_of(const InputFile& file) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1)
    throw std::runtime_error("OpenSSL gives no SHA-256");
  read_blocks(file, 0, file.size_bytes, [&](std::span<const char> block) {
    if (EVP_DigestUpdate(context.get(), block.data(), block.size()) != 1) throw std::runtime_error("SHA-256 failed");
    return true;
  });
  Digest digest{};
  if (EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) throw std::runtime_error("SHA-256 failed");
  return digest;
}

std::vector<NumberedDigest> sha256_of_all(const std::vector<NumberedFile>& files) {
  std::vector<NumberedDigest> digests;
  for (const auto& [number, file] : files) digests.emplace_back(number, sha256_of(file));
  return digests;
}

/// Gives each file, the largest first, to the worker that has the fewest bytes so far. A worker without a file is none.
std::vector<std::vector<NumberedFile>> spread_files(const std::vector<InputFile>& files, std::size_t workers) {
  std::vector<std::size_t> by_size(files.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::sort(by_size.begin(), by_size.end(), [&](std::size_t a, std::size_t b) {
    return files[a].size_bytes != files[b].size_bytes ? files[a].size_bytes > files[b].size_bytes : a < b;
  });
  const std::size_t used = std::min(workers, files.size());
  std::vector<std::vector<NumberedFile>> tasks(used);
  std::vector<std::uint64_t> bytes(used, 0);
  for (const std::size_t number : by_size) {
    const auto least = static_cast<std::size_t>(std::min_element(bytes.begin(), bytes.end()) - bytes.begin());
    tasks[least].emplace_back(number, files[number]);
    bytes[least] += files[number].size_bytes + 1;  // An empty file takes its time too: they go round.
  }
  return tasks;
}

/// As sha256sum prints them: a line for each file, in the order in which they were named.
std::string list_digests(const std::vector<std::string>& names, const std::vector<std::vector<NumberedDigest>>& parts) {
  std::vector<Digest> digests(names.size());
  for (const std::vector<NumberedDigest>& part : parts)
    for (const auto& [number, digest] : part) digests.at(number) = digest;
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += fmt::format("{}{:02x}  {}", i == 0 ? "" : "\n", fmt::join(digests[i], ""), printable(names[i]));
  return text;
}

class Sha256Work final : public Work {
 public:
  std::string name() const override { return "sha256"; }
  std::string usage() const override { return "sha256 FILE..."; }
  std::string description() const override {
    return "Computes the SHA-256 digests of files, with OpenSSL: many independent pieces of different sizes.";
  }
  void add_options(CLI::App& app) override {
    app.add_option("FILE", names_, "files of any size; each is one worker's")->required()->type_name("");
  }
  Workload make() const override {
    Workload work = workload(
        name(), [files = check_files(names_)](std::size_t workers) { return spread_files(files, workers); },
        &sha256_of_all,
        [names = names_](const std::vector<std::vector<NumberedDigest>>& parts) { return list_digests(names, parts); });
    work.set_inputs(join_names(names_));
    return work;
  }

 private:
  std::vector<std::string> names_;
};

}  // namespace

std::unique_ptr<Work> sha256_work() {
  return std::make_unique<Sha256Work>();
}

}  // namespace tandem::tool
