#!/usr/bin/env python3
"""What a large cluster can do, by what a task costs here: where the client, the server or the network gives out.

A model, no measurement: nothing of such a size was run. It takes the CPU time that a call costs the client, the server and the
agents, as bench/cluster_bench measured it (rows of bench/baseline.json), and says what each of them can carry. --check looks
whether the same costs give the rates that were measured, where all of them shared two cores.
"""
import argparse
import json
import sys
from pathlib import Path

BASELINE = Path(__file__).resolve().parent / "baseline.json"
NODES, CORES = 1000, 64
MEBIBYTE = 1 << 20
# What the model takes for granted.
CLIENT_CORES = 1.0  # Its results are told by one thread, and its tasks handed out by one.
SERVER_CORES = 2.0  # One for the stream of tasks and one for that of results: each is written under one lock.
NETWORK_BYTES = 1.25e9  # Of the server, each way: 10 Gbit/s.
# src/cluster/task_pace.cpp and include/tandem/cluster.hpp.
BATCH_SECONDS, MOST_IN_BATCH, SHORT_SECONDS, CHUNK_SECONDS = 4e-3, 128, 5e-3, 5e-3
# Three servers, each task and result stored by all: what that cost beside one where engines were chosen, 5,500 tasks a second
# instead of 15,000, and 123 MB/s instead of 375.
REPLICATED = 3.0
# A measured rate and the one by its costs may differ so much: others use the machine, and waiting is in no cost.
TOLERANCE = 1.6
AMONG, ALONE, LARGE = (
    f"ClusterExecutor, CPU time of the client, {what}"
    for what in ("a small call among many", "a small call in a message of its own", "a call with 1 MiB in and out")
)
RATES = {  # The rate that was measured of the same work, in calls a second.
    AMONG: ("ClusterExecutor, int to int, submit with futures", 1e3),
    LARGE: ("ClusterExecutor, 1 MiB in and 1 MiB out", 1e6 / (2 * MEBIBYTE)),
}


class Costs:
    """Seconds of a core for a call of each kind, by who has them."""

    def __init__(self, rows):
        self.rows = rows
        self.of = {}
        for name in (AMONG, ALONE, LARGE):
            found = {row["peer"]: row for row in rows if row["name"] == name}
            if not found:
                sys.exit(f"cluster_model: the baseline has no row {name}: ./dev bench --only Cluster")
            one = next(iter(found.values()))
            self.of[name] = {
                "client": one["ours"]["median"] * 1e-6,
                "server": found["of the server"]["peer_value"]["median"] * 1e-6,
                "agents": found["of agents and workers"]["peer_value"]["median"] * 1e-6,
            }

    def measured(self, name):
        row, unit = RATES[name]
        return next(one for one in self.rows if one["name"] == row)["ours"]["median"] * unit

    def seconds(self, who, calls, payload):
        """Of a message with so many calls, each with so many bytes one way and back."""
        call = self.of[AMONG][who]
        message = max(self.of[ALONE][who] - call, 0)
        per_byte = max(self.of[LARGE][who] - self.of[ALONE][who], 0) / (2 * MEBIBYTE)
        return message + calls * call + calls * 2 * payload * per_byte


def calls_per_message(duration, payload):
    """Of submit(): batches of short calls, as long as their payloads are small."""
    if duration > SHORT_SECONDS or payload > 16 << 10:
        return 1
    return max(1, min(MOST_IN_BATCH, int(BATCH_SECONDS / duration), (64 << 10) // max(payload, 1)))


def chunk(duration):
    """Of map(): as many calls as take so long go as one task."""
    return max(1, round(CHUNK_SECONDS / duration))


def limits(costs, calls, payload):
    """How many calls a second each can carry."""
    return {
        "client": CLIENT_CORES * calls / costs.seconds("client", calls, payload),
        "server": SERVER_CORES * calls / costs.seconds("server", calls, payload),
        "network": NETWORK_BYTES / max(2 * payload, 1),
    }


def text(rate):
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def bytes_text(size):
    return f"{size >> 20} MiB" if size >= MEBIBYTE else f"{size >> 10} KiB" if size >= 1024 else f"{size} B"


def table(costs):
    print("| call takes | bytes in and out | calls each second that keep all cores busy | client | server | network | busy | by map() |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for duration in (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0):
        for payload in (64, 16 << 10, MEBIBYTE):
            wanted = NODES * CORES / duration
            by_submit = limits(costs, calls_per_message(duration, payload), payload)
            # A chunk is a message with one task whose payload is that of its items.
            size = chunk(duration)
            by_map = limits(costs, 1, payload * size)
            first = min(by_submit, key=by_submit.get)
            cells = [f"**{text(rate)}**" if who == first and rate < wanted else text(rate) for who, rate in by_submit.items()]
            busy = min(1.0, min(by_submit.values()) / wanted)
            busy_map = min(1.0, min(by_map.values()) * size / wanted)
            took = f"{duration * 1000:.0f} ms" if duration < 1 else f"{duration:.0f} s"
            print(f"| {took} | {bytes_text(payload)} | {text(wanted)} | {' | '.join(cells)} | {busy:.2%} | {busy_map:.2%} |")


def check(costs):
    failed = False
    for name in RATES:
        by_costs = 2 / sum(costs.of[name].values())
        measured = costs.measured(name)
        ratio = by_costs / measured
        good = 1 / TOLERANCE <= ratio <= TOLERANCE
        failed |= not good
        print(f"{RATES[name][0]}: measured {text(measured)} a second, by its costs on two cores {text(by_costs)}"
              f" ({ratio:.2f} times){'' if good else ': does not fit'}")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="rows that ./dev bench --json wrote")
    parser.add_argument("--check", action="store_true", help="only say whether the costs fit the measured rates")
    arguments = parser.parse_args()
    costs = Costs(json.loads(arguments.baseline.read_text())["rows"])
    failed = check(costs)
    if not arguments.check:
        print()
        table(costs)
    return failed


if __name__ == "__main__":
    sys.exit(main())
