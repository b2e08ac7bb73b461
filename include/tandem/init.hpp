/// The first line of main().
#pragma once

namespace tandem {

/// Makes this program ready to start processes: to be called first in main(), before the arguments are looked at.
///
///   int main(int argc, char** argv) {
///     tandem::init();
///     ...
///   }
///
/// In a process that Tandem executed (a spawned child, the fork server), it runs what that process is for and never
/// returns. In every other process it only remembers that it was called. A second call does nothing.
/// Starting a process in a program that has not called it throws NotInitialized.
void init();

}  // namespace tandem
