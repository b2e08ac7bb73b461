"""What mpi4py.futures reaches: GB each second, one way and back counted together, of calls that take and give 1 MiB.

Started by `mpirun -n 3 python3 -m mpi4py.futures bench/mpi_peer.py CALLS`: one client and two workers.
"""
import sys
import time

from mpi4py.futures import MPIPoolExecutor


def echo(data):
    return data


if __name__ == "__main__":
    calls = int(sys.argv[1])
    data = bytes(1 << 20)
    with MPIPoolExecutor(2) as pool:
        list(pool.map(echo, [data] * 4))
        start = time.perf_counter()
        assert sum(len(result) for result in pool.map(echo, (data for _ in range(calls)))) == calls << 20
        print(2 * (calls << 20) / (time.perf_counter() - start) / 1e9)
