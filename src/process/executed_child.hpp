/// This program, executed once more: how it is told what it is for, and how it finds out.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tandem/detail/shared_object.hpp>

#include "core/system.hpp"

namespace tandem::detail {

/// What an executed process is for.
enum class ExecutedAs { Program, Server, Child };

/// What an executed process was given.
struct Seat {
  ExecutedAs as = ExecutedAs::Program;
  Fd socket;                  // To the process that executed it, if there is one.
  ObjectId parcel;            // A child's.
  std::vector<Fd> arguments;  // Descriptors that are arguments of a child.
};

/// Executes this program, with the same command line, as a server or a child. It has no other descriptors than the
/// standard ones, the arena, the lifeline, and those given here; `stderr_fd` becomes its standard error unless -1.
/// Throws std::system_error.
struct Execution {
  ExecutedAs as = ExecutedAs::Child;
  int lifeline_fd = -1;
  int socket_fd = -1;  // A child need not have one.
  int stderr_fd = -1;
  ObjectId parcel;
  std::span<const int> arguments;
  std::vector<std::string> environment;
};
pid_t execute_this_program(const Execution& execution);

/// This process's environment as "NAME=value", with changes.
std::vector<std::string> environment_with(const std::map<std::string, std::optional<std::string>>& changes);

/// What this process was executed for; its lifeline is held and its arena adopted already. Once.
Seat take_seat();

}  // namespace tandem::detail
