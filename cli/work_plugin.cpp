#include <fmt/format.h>

#include <tandem/load_plugin.hpp>

#include "bad_input.hpp"
#include "input_file.hpp"
#include "text.hpp"
#include "work.hpp"

namespace tandem::tool {
namespace {

class PluginWork final : public Work {
 public:
  std::string name() const override { return "plugin"; }
  std::string usage() const override { return "plugin LIB.so [ARGUMENT...]"; }
  std::string description() const override {
    return "Runs your own work: a shared library with one function, tandem::plugin() of <tandem/plugin.hpp>.";
  }
  void add_options(CLI::App& app) override {
    app.add_option("LIB.so", library_, "the shared library")->required()->type_name("");
    app.add_option("ARGUMENT", arguments_, "what its function gets; after `--` if it begins with a dash")
        ->type_name("");
  }
  Workload make() const override {
    check_files({library_});
    try {
      Workload work = load_plugin(library_, arguments_);
      work.set_name(name());
      std::string inputs = printable(library_);
      for (const std::string& argument : arguments_) inputs += " " + printable(argument);
      work.set_inputs(inputs);
      return work;
    } catch (const PluginRefused& error) {
      throw BadInput(error.what());
    } catch (const std::exception& error) {
      throw BadInput(fmt::format("{}: {}", library_, error.what()));
    }
  }

 private:
  std::string library_;
  std::vector<std::string> arguments_;
};

}  // namespace

std::unique_ptr<Work> plugin_work() {
  return std::make_unique<PluginWork>();
}

}  // namespace tandem::tool
