/// The exit codes of the tool: a contract, see docs/reference/cli.md.
#pragma once

namespace tandem::tool {

inline constexpr int kExitGood = 0;
/// The work or the tool failed: a worker died, the output could not be written.
inline constexpr int kExitFailed = 1;
/// Bad arguments or input.
inline constexpr int kExitBadInput = 2;
/// The results differ from place to place.
inline constexpr int kExitDifferent = 3;
/// Ended by a signal: this plus its number, as a shell has it. 130 for Ctrl-C.
inline constexpr int kExitSignal = 128;

}  // namespace tandem::tool
