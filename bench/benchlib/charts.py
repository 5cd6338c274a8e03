"""Which charts there are."""
from . import cases, svg
from .results import spread

SPREAD = "bars: median, whiskers: smallest and largest round; less is better"


def panels(results, group, unit_words, chosen=None):
    """The title's first part is the panel's head; the rest, with the unit, goes below it."""
    found = []
    for case in chosen or results.cases(group):
        first = results.of(group, case)
        if first:
            head, _, rest = first[0]["title"].split(", one echo")[0].partition(", ")
            found.append((head, " · ".join(w for w in (rest, unit_words or first[0]["unit"]) if w), results.summary(group, case)))
    return found


def by_x(results, group, prefix=""):
    series = {}
    for case in results.cases(group):
        if case.startswith(prefix):
            for peer in results.peers(group):
                values = results.values(group, case, peer)
                if values:
                    series.setdefault(peer, []).append((results.of(group, case)[0]["x"], spread(values)))
    return series


def flood_groups(results):
    groups = []
    for case in results.cases("flood"):
        name = results.of("flood", case)[0]["title"]
        groups.append((name, {p: [v / 1e3 for v in results.values("flood", case, p, "p99_us")] for p in results.peers("flood")}))
    return groups


def node_groups(results):
    return [(f"{results.of('node', c)[0]['x']:,}", {p: results.values("node", c, p) for p in results.peers("node")})
            for c in results.cases("node")]


def draw(results, machine, directory):
    where = f"{machine['date'].split()[0]}, {machine['cpus']} CPUs"
    svg.points_chart(directory / "response-time.svg", "Median response time of POST echoes by body size",
                     f"node alone and behind proxies on one CPU, wrk on another; each point a run; {where}", node_groups(results),
                     "body size (bytes)", "median response time (ms)")
    for group, words in (("echo", "µs a request"), ("connections", "µs a connection"), ("bulk", "ms a gigabyte")):
        title = "Proxy CPU time: " + cases.GROUPS[group][0].lower()
        svg.bars_chart(directory / f"cpu-{group}.svg", title, f"{words}; {SPREAD}; {where}", panels(results, group, words.split()[0]))
    svg.bars_chart(directory / "memory.svg", "Process memory", f"PSS of all processes of a proxy; {where}",
                   panels(results, "memory", "", ("memory-idle", "memory-closed", "memory-hello")))
    svg.points_chart(directory / "flood.svg", "Echo latency (p99) on established sessions under a flood of handshakes",
                     f"RSA-2048, full handshakes; each point a run; {where}", flood_groups(results), "flood", "p99 (ms), logarithmic", log=True)
    svg.lines_chart(directory / "sessions.svg", "Proxy CPU time of a request by number of sessions",
                    f"at most 100 requests under way; median, smallest and largest; {where}", by_x(results, "sessions"), "sessions",
                    "µs a request")
    svg.lines_chart(directory / "workers.svg", "Proxy CPU time of a request by number of workers",
                    f"200 connections; median, smallest and largest; {where}", by_x(results, "workers", "workers-echo"), "workers",
                    "µs a request")
