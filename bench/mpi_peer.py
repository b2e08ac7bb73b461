"""What mpi4py.futures reaches, as one figure:

    mebibytes   GB each second, one way and back counted together, of calls that take and give 1 MiB
    map         thousands of calls each second of a function of an int, by map()
    chunks      the same, by map() with a chunk size of 1000
    submit      the same, by submit()
    call        microseconds of one call at a time, the median

Started by `mpirun -n 3 python3 -m mpi4py.futures bench/mpi_peer.py WHAT CALLS`: one client and two workers.
"""
import sys
import time
from statistics import median

from mpi4py.futures import MPIPoolExecutor


def echo(data):
    return data


def add_one(number):
    return number + 1


def timed(operation):
    start = time.perf_counter()
    operation()
    return time.perf_counter() - start


def check_sum(total, calls):
    assert total == calls * (calls + 1) // 2


def mebibytes(pool, calls):
    data = bytes(1 << 20)
    list(pool.map(echo, [data] * 4))
    start = time.perf_counter()
    assert sum(len(result) for result in pool.map(echo, (data for _ in range(calls)))) == calls << 20
    return 2 * (calls << 20) / (time.perf_counter() - start) / 1e9


def map_calls(pool, calls, chunk=1):
    return calls / timed(lambda: check_sum(sum(pool.map(add_one, range(calls), chunksize=chunk)), calls)) / 1e3


def submit(pool, calls):
    def all_calls():
        futures = [pool.submit(add_one, number) for number in range(calls)]
        check_sum(sum(future.result() for future in futures), calls)

    return calls / timed(all_calls) / 1e3


def call(pool, calls):
    return median(timed(lambda: pool.submit(add_one, 1).result()) for _ in range(calls)) * 1e6


MEASURES = {
    "mebibytes": mebibytes,
    "map": map_calls,
    "chunks": lambda pool, calls: map_calls(pool, calls, 1000),
    "submit": submit,
    "call": call,
}

if __name__ == "__main__":
    with MPIPoolExecutor(2) as pool:
        list(pool.map(add_one, range(100)))
        print(MEASURES[sys.argv[1]](pool, int(sys.argv[2])))
