/// The works that `tandem compare` can measure: one file each, work_<name>.cpp.
#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <string>
#include <tandem/compare.hpp>
#include <vector>

namespace tandem::tool {

/// A work as the command line sees it: its name, its options, and what they make of it.
class Work {
 public:
  virtual ~Work() = default;
  virtual std::string name() const = 0;
  /// As a user writes it: "sum --to N".
  virtual std::string usage() const = 0;
  /// One sentence.
  virtual std::string description() const = 0;
  virtual void add_options(CLI::App& app) = 0;
  /// Checks the options and all input that they name. Throws BadInput.
  virtual Workload make() const = 0;
};

std::unique_ptr<Work> sum_work();
std::unique_ptr<Work> primes_work();
std::unique_ptr<Work> words_work();
std::unique_ptr<Work> sha256_work();
std::unique_ptr<Work> wait_work();
std::unique_ptr<Work> plugin_work();

/// All of them, in the order in which they are listed.
std::vector<std::unique_ptr<Work>> all_works();

}  // namespace tandem::tool
