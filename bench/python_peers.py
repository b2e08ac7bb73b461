"""What Python's multiprocessing reaches: for each line "name cores argument" on standard input, one figure on standard output.

Started by python_peer.cpp, which asks for one sample at a time so that it is taken beside Tandem's. The functions of the
table at the end take (cores, argument); a figure is in the unit of the row that asks.
"""
import multiprocessing as mp
import os
import sys
import time
from statistics import median

SECONDS = 0.03
fork = mp.get_context("fork")


def pin(cores, side):
    allowed = sorted(os.sched_getaffinity(0))
    if cores == "one":
        os.sched_setaffinity(0, {allowed[0]})
    elif cores == "two":
        os.sched_setaffinity(0, {allowed[side % 2]})


def run_sides(cores, sides, body):
    """Runs body(0) to body(sides - 1) in forked processes that begin together; what each returned."""
    begin = fork.Barrier(sides)
    results = fork.SimpleQueue()

    def one(side):
        pin(cores, side)
        begin.wait()
        results.put((side, body(side)))

    processes = [fork.Process(target=one, args=(side,)) for side in range(sides)]
    for process in processes:
        process.start()
    returned = dict(results.get() for _ in processes)
    for process in processes:
        process.join()
    return [returned[side] for side in range(sides)]


def nanoseconds_each(operation, calls=2000):
    times = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(calls):
            operation()
        times.append((time.perf_counter() - start) * 1e9 / calls)
    return median(times)


def held_once(lock):
    def operation():
        with lock:
            pass

    return nanoseconds_each(operation)


def value_add(cores, _):
    number = fork.Value("q", 0)

    def operation():
        with number.get_lock():
            number.value += 1

    return nanoseconds_each(operation)


def fought_for(cores, lock):
    """Millions of times each second that two processes have the lock, together."""

    def body(_):
        count = 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for _ in range(16):
                with lock:
                    count += 1
        return count

    return sum(run_sides(cores, 2, body)) / SECONDS / 1e6


def per_turn(cores, turn):
    """The median of how many microseconds a turn(side) takes, in which both sides meet."""
    last_turn = fork.Value("q", 1 << 60, lock=False)

    def body(side):
        times = []
        start = time.perf_counter()
        number = 0
        while True:
            begin = time.perf_counter()
            if side == 0 and begin - start >= SECONDS:
                last_turn.value = number
            turn(side)
            times.append(time.perf_counter() - begin)
            if number >= last_turn.value:
                return median(times) * 1e6
            number += 1

    return run_sides(cores, 2, body)[0]


def event_set_and_clear(cores, _):
    event = fork.Event()

    def operation():
        event.set()
        event.clear()

    return nanoseconds_each(operation)


def event_to_and_fro(cores, _):
    there, back = fork.Event(), fork.Event()

    def turn(side):
        mine, theirs = (there, back) if side == 0 else (back, there)
        if side == 0:
            mine.set()
        theirs.wait()
        theirs.clear()
        if side != 0:
            mine.set()

    return per_turn(cores, turn)


def barrier_rounds(cores, _):
    barrier = fork.Barrier(2)
    return per_turn(cores, lambda side: barrier.wait())


def condition_to_and_fro(cores, _):
    changed = fork.Condition(fork.Lock())
    turn_of = fork.Value("i", 0, lock=False)

    def turn(side):
        with changed:
            changed.wait_for(lambda: turn_of.value == side)
            turn_of.value = 1 - side
            changed.notify()

    return per_turn(cores, turn)


def idle(ready, stop):
    ready.release()
    stop.wait()


def nothing():
    pass


def messages(cores, argument):
    """Messages each microsecond through a Queue; argument: size in bytes * 64 + producers - 1, and as many consumers."""
    size, pairs = divmod(argument, 64)
    pairs += 1
    queue = fork.Queue(1024 if size < 4096 else 16)

    def produce():
        item = bytes(size)
        count = 0
        end = time.monotonic() + 2 * SECONDS
        while time.monotonic() < end:
            queue.put(item)
            count += 1
        queue.put(None)
        return count

    def consume():
        count = 0
        while queue.get() is not None:
            count += 1
        return count

    def body(side):
        start = time.monotonic()
        count = produce() if side % 2 == 0 else consume()
        return count, start, time.monotonic()

    results = run_sides(cores, 2 * pairs, body)
    received = sum(count for side, (count, _, _) in enumerate(results) if side % 2)
    assert received == sum(count for side, (count, _, _) in enumerate(results) if side % 2 == 0)
    took = max(end for _, _, end in results) - min(start for _, start, _ in results)
    return received / took / 1e6


def round_trip(cores, _):
    there, back = fork.Queue(), fork.Queue()
    item = bytes(64)

    def turn(side):
        if side == 0:
            there.put(item)
            back.get()
        else:
            there.get()
            back.put(item)

    return per_turn(cores, turn)


filled = {}


def put_and_get(cores, waiting):
    """Nanoseconds of a put and a get while so many items wait. The queue is kept until another is asked for."""
    if waiting not in filled:
        for queue in filled.values():
            queue.close()
        filled.clear()
        filled[waiting] = fork.Queue()
        filled[waiting].cancel_join_thread()  # Nobody reads what is left.
        for _ in range(waiting):
            filled[waiting].put(1)
    queue = filled[waiting]

    def operation():
        queue.put(1)
        queue.get()

    return nanoseconds_each(operation, 300)


def megabytes(cores, size):
    """MB each second, in items of a size."""
    count = max(1, min(5000, (64 << 20) // size))
    queue = fork.Queue(1024 if size <= 4096 else 16 if size <= 1 << 20 else 2)

    def body(side):
        start = time.monotonic()
        item = bytes(size)
        for _ in range(count):
            if side == 0:
                queue.put(item)
            else:
                assert len(queue.get()) == size
        return start, time.monotonic()

    results = run_sides(cores, 2, body)
    return size * count / (max(end for _, end in results) - min(start for start, _ in results)) / 1e6


def workers_fork(cores, count):
    """Microseconds for each of so many processes that idle at the same time, from the first start to the last join."""
    ready, stop = fork.Semaphore(0), fork.Event()
    start = time.perf_counter()
    processes = [fork.Process(target=idle, args=(ready, stop)) for _ in range(count)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    stop.set()
    for process in processes:
        process.join()
    return (time.perf_counter() - start) * 1e6 / count


def start_and_join(method):
    def sample(cores, argument):
        context = mp.get_context(method)
        times = []
        for _ in range(argument):
            start = time.perf_counter()
            process = context.Process(target=nothing)
            process.start()
            process.join()
            times.append((time.perf_counter() - start) * 1e6)
        return median(times)

    return sample


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def idle_memory(method):
    """KiB of an idle process, shared pages divided among those that share them."""

    def sample(cores, count):
        context = mp.get_context(method)
        ready, stop = context.Semaphore(0), context.Event()
        processes = [context.Process(target=idle, args=(ready, stop)) for _ in range(count)]
        for process in processes:
            process.start()
        for _ in processes:
            ready.acquire()
        memory = sum(pss_kib(process.pid) for process in processes) / count
        stop.set()
        for process in processes:
            process.join()
        return memory

    return sample


def add_one(number):
    return number + 1


def echo(data):
    return data


def pool_tasks(cores, count):
    """Millions of tasks each second, one by one."""
    with fork.Pool(2) as pool:
        pool.map(add_one, range(1000))
        start = time.perf_counter()
        assert sum(1 for _ in pool.imap_unordered(add_one, range(count))) == count
        return count / (time.perf_counter() - start) / 1e6


def pool_map(cores, count):
    """Millions of items each second, in chunks as large as Pool makes them by itself."""
    items = list(range(count))
    with fork.Pool(2) as pool:
        pool.map(add_one, items[:1000])
        start = time.perf_counter()
        assert len(pool.map(add_one, items)) == count
        return count / (time.perf_counter() - start) / 1e6


def pool_apply(cores, calls):
    with fork.Pool(2) as pool:
        pool.apply(add_one, (1,))
        times = []
        for _ in range(calls):
            start = time.perf_counter()
            pool.apply(add_one, (1,))
            times.append((time.perf_counter() - start) * 1e6)
        return median(times)


def pool_mebibytes(cores, count):
    """GB each second, one way and back counted together, of calls that take and give 1 MiB."""
    data = bytes(1 << 20)
    with fork.Pool(2) as pool:
        pool.map(echo, [data] * 4, 1)
        start = time.perf_counter()
        assert sum(len(result) for result in pool.imap_unordered(echo, (data for _ in range(count)))) == count << 20
        return 2 * (count << 20) / (time.perf_counter() - start) / 1e9


SAMPLES = {
    "pool_tasks": pool_tasks,
    "pool_map": pool_map,
    "pool_apply": pool_apply,
    "pool_mebibytes": pool_mebibytes,
    "lock_alone": lambda cores, _: held_once(fork.Lock()),
    "rlock_alone": lambda cores, _: held_once(fork.RLock()),
    "semaphore_alone": lambda cores, _: held_once(fork.Semaphore()),
    "value_add": value_add,
    "lock_fought_for": lambda cores, _: fought_for(cores, fork.Lock()),
    "semaphore_fought_for": lambda cores, _: fought_for(cores, fork.Semaphore()),
    "event_set_and_clear": event_set_and_clear,
    "event_look": lambda cores, _: nanoseconds_each(fork.Event().is_set),
    "event_to_and_fro": event_to_and_fro,
    "barrier_rounds": barrier_rounds,
    "condition_to_and_fro": condition_to_and_fro,
    "messages": messages,
    "round_trip": round_trip,
    "put_and_get": put_and_get,
    "megabytes": megabytes,
    "workers_fork": workers_fork,
}
for start_method in ("fork", "forkserver", "spawn"):
    SAMPLES["start_" + start_method] = start_and_join(start_method)
    SAMPLES["memory_" + start_method] = idle_memory(start_method)


def main():
    # Standard input and output are one socket that children must not speak on.
    socket_in, socket_out = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    for line in socket_in:
        name, cores, argument = line.split()
        print(SAMPLES[name](cores, int(argument)), file=socket_out, flush=True)


if __name__ == "__main__":
    main()
