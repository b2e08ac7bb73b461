/// Values and tasks that make trouble on their way to a worker, in it, and back.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include <tandem/exit.hpp>

namespace tandem::testing {

enum class Mischief { None, Throw, AskToExit, Exit, ExitAtOnce, Crash, Kill };

inline constexpr int kMischiefCode = 7;

inline void make(Mischief mischief) {
  switch (mischief) {
    case Mischief::None:
      return;
    case Mischief::Throw:
      throw std::out_of_range("mischief");
    case Mischief::AskToExit:
      tandem::exit(kMischiefCode);
    case Mischief::Exit:
      std::exit(kMischiefCode);
    case Mischief::ExitAtOnce:
      ::_exit(kMischiefCode);
    case Mischief::Crash:
      ::raise(SIGSEGV);
      return;
    case Mischief::Kill:
      ::kill(::getpid(), SIGKILL);
  }
}

/// Does what it is told when it is encoded, and when it is decoded.
struct Trouble {
  Mischief on_save = Mischief::None;
  Mischief on_load = Mischief::None;
  template <class Archive>
  void save(Archive& archive) const {
    make(on_save);
    archive(on_load);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(on_load);
    make(on_load);
  }
};

/// Where in the life of a task.
enum class Stage { Unpack, Run, PackResult, UnpackResult };

inline int take(const Trouble& /*trouble*/) {
  return 1;
}
inline int run(Mischief mischief) {
  make(mischief);
  return 1;
}
inline Trouble give(Mischief on_save, Mischief on_load) {
  return {on_save, on_load};
}

}  // namespace tandem::testing
