"""Draws how cost grows: an SVG for each plot that rows have a point in, by gnuplot."""
import subprocess

# Name: title, and what is on the axes. Both go up by factors.
PLOTS = {
    "queue-processes": ("Queue between processes, items of 8 bytes", "producers, and as many consumers", "million items/s"),
    "queue-threads": ("Queue between threads, items of 8 bytes", "producers, and as many consumers", "million items/s"),
    "queue-waiting": ("A put and a get while items wait, 8 bytes, one thread", "items waiting", "ns for a put and a get"),
    "queue-bytes": ("Queue from one process to another, by size of the item", "bytes of an item", "MB/s"),
    "process-time": ("Processes that idle at the same time: start and join", "processes at once", "microseconds for each"),
    "process-memory": ("Processes that idle at the same time: memory", "processes at once", "KiB (PSS) for each"),
}
# Of Okabe and Ito: told apart by those who see fewer colours, too. Ours are the first.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"]


def lines_of(rows, plot):
    """For each line of a plot whether it is ours, and its points (at, median, min, max)."""
    ours, peers = {}, {}
    for row in rows:
        point = row.get("point")
        if not point or point["plot"] != plot:
            continue
        at = point["at"]
        ours.setdefault(point["line"], {})[at] = row["ours"]
        if row["peer_value"] is not None:
            peers.setdefault(row["peer"], {})[at] = row["peer_value"]
    return [
        (name, group is ours, [(at, value["median"], value["min"], value["max"]) for at, value in sorted(points.items())])
        for group in (ours, peers)
        for name, points in group.items()
    ]


def script(plot, lines, file):
    title, across, up = PLOTS[plot]
    ats = [point[0] for _, _, points in lines for point in points]
    ticks = "set format x '10^{%L}'"
    if across.startswith("producers"):
        ticks = "set xtics (1, 2, 4, 8, 16, 32, 64)"
    elif across.startswith("processes"):
        ticks = "set xtics (1, 3, 10, 30, 100, 300, 1000)"
    elif plot == "queue-bytes":
        marks = [("1 B", 0), ("64 B", 6), ("1 KiB", 10), ("64 KiB", 16), ("1 MiB", 20), ("16 MiB", 24), ("256 MiB", 28)]
        ticks = "set xtics (" + ", ".join(f"'{name}' {1 << power}" for name, power in marks) + ")"
    commands = [
        # A ground of its own, so that the page behind may be light or dark.
        "set terminal svg size 860,380 dynamic enhanced font 'sans-serif,14' background '#ffffff'",
        f"set output '{file}'",
        f"set title '{title}'",
        f"set xlabel '{across}'",
        f"set ylabel '{up}'",
        "set logscale xy",
        "set format y '%g'",
        ticks,
        "set border 3 lc '#555555'",
        "set tics nomirror",
        "set grid lc '#dddddd'",
        "set key outside right center vertical Left reverse samplen 2",
        f"set xrange [{0.8 * min(ats)}:{1.25 * max(ats)}]",
    ]
    for number, (_, _, points) in enumerate(lines):
        data = "\n".join(" ".join(f"{value:g}" for value in point) for point in points)
        commands.append(f"$line{number} << END\n{data}\nEND")
    drawn = (
        f"$line{number} using 1:2:3:4 with yerrorlines lw {2.5 if ours else 1.5} pt 7 ps 0.5 "
        f"lc '{COLOURS[number % len(COLOURS)]}' title \"{name}\" noenhanced"
        for number, (name, ours, _) in enumerate(lines)
    )
    commands.append("plot " + ", ".join(drawn))
    return "\n".join(commands) + "\n"


def draw(rows, folder):
    """Draws every plot that has at least two points in a line. What was drawn; nothing if there is no gnuplot."""
    drawn = []
    for plot in PLOTS:
        lines = lines_of(rows, plot)
        if not any(len(points) > 1 for _, _, points in lines):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{plot}.svg"
        try:
            subprocess.run(["gnuplot"], input=script(plot, lines, file), text=True, check=True)
        except FileNotFoundError:
            return []
        drawn.append(file)
    return drawn
