"""Tables: the same ones on the terminal and in latest.md."""
import json
import re
import statistics

from . import cases
from .peers import FLOOR, OURS, OURS_LIBSSL

SHORT = {"haproxy-plain": "haproxy, no TLS"}


def number(x):
    if x >= 100:
        return f"{x:.0f}"
    return f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def with_spread(s):
    if not s:
        return "-"
    return number(s["median"]) + (f" ({number(s['min'])}-{number(s['max'])})" if s["n"] > 1 else "")


def table(head, rows):
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    line = lambda cells: "| " + " | ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(cells, widths))) + " |"
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(r) for r in rows)])


def cost_table(results, group):
    """What is wanted holds for the better one of our two handshakes."""
    peers = results.peers(group)
    both = OURS_LIBSSL in peers
    head = ["proxy CPU time", "unit", *(SHORT.get(p, p) for p in peers), "ratio to best peer", *(["by libssl to best peer"] if both else []),
            "wanted", "ratio to floor"]
    rows = []
    for case in results.cases(group):
        first = results.of(group, case)[0]
        summary = results.summary(group, case)
        best = results.best_peer(group, case)
        to_best = lambda ours: results.ratio(group, case, best, ours) if best else None
        cell = lambda ratio: f"{with_spread(ratio)} {best}" if ratio else "-"
        rows.append([first["title"], first["unit"], *(with_spread(summary.get(p)) for p in peers), cell(to_best(OURS)),
                     *([cell(to_best(OURS_LIBSSL))] if both else []), cases.wanted(case) or "-",
                     with_spread(results.ratio(group, case, FLOOR))])
    return table(head, rows)


def beside_table(results, group):
    """Throughput, latency, and who was at the end of his CPU."""
    head = ["", "peer", "units/s", "p50 us", "p99 us", "proxy busy", "load CPU us", "load+backend busy", "at the limit", "others on the CPUs"]
    rows = []
    for case in results.cases(group):
        for peer in results.peers(group):
            if not results.values(group, case, peer):
                continue
            middle = lambda field: statistics.median(results.values(group, case, peer, field) or [0])
            bulk = results.of(group, case)[0]["unit"] == "ms/GB"
            rate = f"{middle('mb_per_s'):.0f} MB" if bulk else f"{middle('rate'):.0f}"
            ops = middle("ops")
            rows.append([results.of(group, case)[0]["title"], SHORT.get(peer, peer), rate,
                         "-" if bulk else number(middle("p50_us")), "-" if bulk else number(middle("p99_us")),
                         f"{100 * middle('proxy_busy'):.0f} %", number(1e3 * middle("cpu_ms") / ops) if ops and not bulk else "-",
                         f"{100 * middle('generator_busy'):.0f} %",
                         results.limits(group, case, peer) or "none", f"{100 * middle('foreign_busy'):.0f} %"])
    return table(head, rows)


def machine_lines(machine):
    m = machine
    m["versions"] = {k: v for k, v in m["versions"].items() if v}
    where = (f"proxy on CPU {m['cpu_of_proxy'][0]}, load generator on CPU {m['cpu_of_load'][0]}, "
             f"backend on CPU {m['cpu_of_backend'][0]}")
    return [
        f"{m['date']}; {m['cpu']}, {m['cpus']} CPUs{' (virtual)' if m['virtual'] else ''}, features {' '.join(m['cpu_features']) or 'none'}; "
        f"{m['memory_mb']} MB; {m['system']}, Linux {m['kernel']}",
        f"TCP congestion control {m['congestion']}, network namespace of its own: {'yes' if m['own_network'] else 'no'}, "
        f"sched_autogroup {m['sched_autogroup']}; {where}",
        "; ".join(v if v.startswith(k) else f"{k} {v}" for k, v in m["versions"].items()),
    ]


def strangers(results):
    """How reliable the results are."""
    shares = [s["foreign_busy"] for s in results.samples if "foreign_busy" in s]
    if not shares:
        return []
    share = statistics.median(shares)
    more = ": **not quiet**, throughput and latency say little" if share > 0.1 else ""
    return [f"- strangers took {100 * share:.0f} % of a CPU meanwhile (median of all samples){more}"]


def markdown(results, machine, extra=()):
    parts = ["# Benchmark", "", *(f"- {line}" for line in machine_lines(machine)),
             f"- {machine['rounds']} interleaved rounds of {machine['seconds']} s; stats are medians (smallest-largest)"
             + ("; with priority over strangers" if machine["ahead"] else "")
             + (f"; all of it took {machine['took_s']} s" if "took_s" in machine else ""), *strangers(results), ""]
    titles = {g: t for g, (t, _) in cases.GROUPS.items()}
    for group in results.groups():
        if group in titles:
            parts += [f"## {titles[group]}", "", cost_table(results, group), "", "<details><summary>throughput, latency, limits</summary>",
                      "", beside_table(results, group), "", "</details>", ""]
    for section in extra:
        text = section(results)
        if text:
            parts += [text, ""]
    if results.notes:
        parts += ["## Notes", "", *(f"- {n}" for n in results.notes), ""]
    return "\n".join(parts)


def rounded(x):
    """To six digits: the rest is noise and makes the file long."""
    if isinstance(x, float):
        return float(f"{x:.6g}")
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def write_json(results, machine, path):
    summary = []
    for group in results.groups():
        for case in results.cases(group):
            best = results.best_peer(group, case)
            summary.append({"group": group, "case": case, "title": results.of(group, case)[0]["title"],
                            "unit": results.of(group, case)[0]["unit"], "peers": results.summary(group, case), "best_peer": best,
                            "ratio_to_best": results.ratio(group, case, best) if best else None,
                            "ratio_of_libssl_to_best": results.ratio(group, case, best, OURS_LIBSSL) if best else None,
                            "ratio_to_floor": results.ratio(group, case, FLOOR)})
    everything = {"machine": machine, "summary": summary, "notes": results.notes, "samples": results.samples}
    lines = json.dumps(rounded(everything), indent=1)
    path.write_text(re.sub(r"\n {3,}", " ", lines) + "\n")
