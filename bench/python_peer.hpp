/// What Python's modules reach: measured by a Python program that stays and takes one sample whenever it is asked.
#pragma once

#include <functional>
#include <string>

#include "sides.hpp"

namespace tandem::bench {

/// A sample of the function of that name in bench/python_peers.py, called with this argument; empty if there is no
/// Python. `name` may be "lock_alone", for example.
std::function<double()> python(const std::string& name, Cores cores = Cores::Free, long argument = 0);

/// The same of mpi4py.futures: what bench/mpi_peer.py has under that name, in an mpirun of its own for each sample;
/// empty if it is not installed.
std::function<double()> mpi4py(const std::string& what, long calls);

}  // namespace tandem::bench
