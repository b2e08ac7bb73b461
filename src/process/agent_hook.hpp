/// How a library that this one does not know takes over a program that is started as its agent.
#pragma once

namespace tandem::detail {

/// With this variable in the environment, tandem::init() calls the function that was set here, or ends the program with
/// a message if there is none.
inline constexpr char kAgentVariable[] = "TANDEM_AGENT";
using AgentMain = void (*)();
/// Before main(). The function does not return.
void set_agent_main(AgentMain agent_main) noexcept;

}  // namespace tandem::detail
