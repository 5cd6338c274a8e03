"""Tables of the experiments that have columns of their own."""
import statistics

from .peers import OURS, TLS_PEERS
from .report import SHORT, number, table, with_spread
from .results import spread


def memory(results):
    cases = results.cases("memory")
    if not cases:
        return ""
    head = ["memory (PSS of all processes)", "unit", *(SHORT.get(p, p) for p in results.peers("memory"))]
    rows = []
    for case in cases:
        first = results.of("memory", case)[0]
        summary = results.summary("memory", case)
        rows.append([first["title"], first["unit"], *(with_spread(summary.get(p)) for p in results.peers("memory"))])
    return "## Memory\n\n" + table(head, rows)


def flood(results):
    peers = results.peers("flood")
    if not peers:
        return ""
    values = lambda peer, case, field: results.values("flood", f"flood-{case}", peer, field)
    cell = lambda v: with_spread(spread(v)) if v else "-"
    floods = [("500", "500/s"), ("unbounded", "unbounded"), ("lean", "lean client")]
    head = ["echo on established sessions, us", "quiet p50", "quiet p99"]
    for _, title in floods:
        head += [f"{title}: p50", f"{title}: p99"]
    for _, title in floods[1:]:
        head += [f"{title}: p99 to quiet", f"{title}: handshakes/s"]
    head += [f"{title}: flood's p50, p99 ms" for _, title in floods]
    rows = []
    for peer in peers:
        row = [SHORT.get(peer, peer)]
        for case in ("quiet", *(f for f, _ in floods)):
            row += [cell(values(peer, case, "p50_us")), cell(values(peer, case, "p99_us"))]
        for case, _ in floods[1:]:
            quiet, full = values(peer, "quiet", "p99_us"), values(peer, case, "p99_us")
            row += [number(statistics.median(full) / statistics.median(quiet)) if quiet and full else "-",
                    cell(values(peer, case, "flood_rate"))]
        own = lambda case: ", ".join(number(statistics.median(values(peer, case, f)) / 1e3) for f in ("flood_p50_us", "flood_p99_us")) \
            if values(peer, case, "flood_p50_us") else "-"
        row += [own(case) for case, _ in floods]
        rows.append(row)
    return "## Latency under a flood of RSA-2048 handshakes\n\n" + table(head, rows)


def growth(results):
    parts = []
    for group, title in (("sessions", "Growth by sessions"), ("workers", "Growth by workers")):
        if not results.cases(group):
            continue
        head = ["proxy CPU time, us", *(SHORT.get(p, p) for p in results.peers(group)), "units/s of tls-off", "of the peers",
                "load+backend busy"]
        rows = []
        for case in results.cases(group):
            summary = results.summary(group, case)
            others = [f"{p} {statistics.median(results.values(group, case, p, 'rate')):.0f}" for p in results.peers(group)
                      if p != OURS and results.values(group, case, p, "rate")]
            ours = results.values(group, case, OURS, "rate")
            busy = results.values(group, case, OURS, "generator_busy")
            rows.append([results.of(group, case)[0]["title"], *(with_spread(summary.get(p)) for p in results.peers(group)),
                         f"{statistics.median(ours):.0f}" if ours else "-", ", ".join(others),
                         f"{100 * statistics.median(busy):.0f} %" if busy else "-"])
        parts += [f"## {title}\n", table(head, rows), ""]
    return "\n".join(parts)


def node(results):
    cases = results.cases("node")
    if not cases:
        return ""
    peers = results.peers("node")
    values = lambda case, peer, field: results.values("node", case, peer, field)
    cell = lambda v: with_spread(spread(v)) if v else "-"
    def block(what, field):
        return table([what, *(SHORT.get(p, p) for p in peers)],
                     [[results.of("node", c)[0]["title"], *(cell(values(c, p, field)) for p in peers)] for c in cases])
    with_tls = [p for p in peers if p in TLS_PEERS or p == "node https"]
    ahead = []
    for case in cases:
        rates = {p: statistics.median(values(case, p, "rate")) for p in with_tls if values(case, p, "rate")}
        ours = values(case, OURS, "rate")
        if rates and ours:
            best = max(rates, key=rates.get)
            ahead.append(f"{results.of('node', case)[0]['x']} B: {statistics.median(ours) / rates[best]:.2f} times the requests of {best}")
    busy = [s["generator_busy"] for s in results.samples if s["group"] == "node"]
    return "\n".join([
        "## node behind proxies (wrk, 100 connections; node and proxy on one CPU, wrk on another)\n",
        block("median response time, ms", "cost"), "", block("p99, ms", "p99_ms"), "", block("requests/s", "rate"), "", block("CPU time of node and proxy, us a request", "both_us"), "",
        block("of which the proxy, us a request", "proxy_us"), "",
        "tls-off beside the best with TLS: " + "; ".join(ahead) + f". wrk was busy {100 * statistics.median(busy):.0f} % of its CPU "
        f"(at most {100 * max(busy):.0f} %)."])


def start(results):
    peers = results.peers("start")
    if not peers:
        return ""
    columns = [("handshake p50 ms", "handshake_p50_ms"), ("handshake p99 ms", "handshake_p99_ms"), ("response p50 ms", "p50_ms"),
               ("response p99 ms", "p99_ms"), ("requests/s", "rate"), ("wrk p50 ms", "wrk_p50_ms"), ("wrk p99 ms", "wrk_p99_ms"),
               ("wrk requests/s", "wrk_rate"), ("CPU of load us", "load_us")]
    cell = lambda v: with_spread(spread(v)) if v else "-"
    rows = [[SHORT.get(p, p), *(cell(results.values("start", "start", p, field)) for _, field in columns)] for p in peers]
    best = {}
    for _, field in columns[:4] + columns[6:7]:
        others = [statistics.median(results.values("start", "start", p, field)) for p in peers
                  if p in TLS_PEERS and results.values("start", "start", p, field)]
        ours = results.values("start", "start", OURS, field)
        if others and ours:
            best[field] = statistics.median(ours) / min(others)
    beside = "tls-off to the best with TLS: " + ", ".join(f"{name} {best[field]:.2f}" for name, field in columns if field in best)
    return "\n".join(["## Handshakes when the application fills the CPUs (node cluster of two on a Unix socket, two workers, 100 connections, "
                      "all on the same two CPUs)\n", table(["", *(name for name, _ in columns)], rows), "", beside + "."])


ALL = (memory, flood, growth, node, start)
