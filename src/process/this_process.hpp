/// Who this process is in its family.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <tandem/process.hpp>

namespace tandem::detail {

struct ChildSetup;

/// What current_process() and parent_process() tell.
struct ThisProcess {
  std::string name = "MainProcess";
  bool daemon = false;
  std::optional<StartMethod> method;
  std::optional<ProcessInfo> parent;
};

const ThisProcess& this_process_info();
/// In a child, once, before its body.
void become(const ChildSetup& setup);

/// The default name of the next process that this one makes.
std::string next_child_name();
/// In a forked process, which counts its own.
void restart_child_names() noexcept;

/// Whether tandem::init() was called, here or in the process that forked this one.
bool is_initialized() noexcept;

}  // namespace tandem::detail
