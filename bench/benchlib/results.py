"""Samples and their statistics: medians, spreads, ratios of the same round."""
import statistics

from .peers import FLOOR, OURS, OURS_LIBSSL, TLS_PEERS

SATURATED = 0.93


class Results:
    def __init__(self):
        self.samples = []  # dicts with group, case, title, unit, peer, round, cost and the rest
        self.notes = []

    def add(self, group, case, title, unit, peer, round_, stats):
        self.samples.append({"group": group, "case": case, "title": title, "unit": unit, "peer": peer, "round": round_, **stats})

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def groups(self):
        return list(dict.fromkeys(s["group"] for s in self.samples))

    def cases(self, group):
        return list(dict.fromkeys(s["case"] for s in self.samples if s["group"] == group))

    def peers(self, group):
        found = dict.fromkeys(s["peer"] for s in self.samples if s["group"] == group)
        order = [OURS, OURS_LIBSSL, *TLS_PEERS, FLOOR]
        return sorted(found, key=lambda p: order.index(p) if p in order else -1)

    def of(self, group, case, peer=None):
        return [s for s in self.samples if s["group"] == group and s["case"] == case and (peer is None or s["peer"] == peer)]

    def values(self, group, case, peer, field="cost"):
        return [s[field] for s in self.of(group, case, peer) if s.get(field) is not None]

    def summary(self, group, case):
        rows = {}
        for peer in self.peers(group):
            values = self.values(group, case, peer)
            if values:
                rows[peer] = spread(values)
        return rows

    def best_peer(self, group, case):
        rows = self.summary(group, case)
        known = [p for p in TLS_PEERS if p in rows]
        return min(known, key=lambda p: rows[p]["median"]) if known else None

    def ratio(self, group, case, other, ours=OURS):
        """Ours to another one's, round by round."""
        theirs = {s["round"]: s["cost"] for s in self.of(group, case, other)}
        pairs = [s["cost"] / theirs[s["round"]] for s in self.of(group, case, ours) if theirs.get(s["round"])]
        return spread(pairs) if pairs else None

    def limits(self, group, case, peer):
        """What was at its end: '' when the proxy had CPU left and so had the others."""
        def middle(field):
            values = self.values(group, case, peer, field)
            return statistics.median(values) if values else 0
        said = []
        if middle("proxy_busy") > SATURATED:
            said.append("proxy")
        if middle("generator_busy") > SATURATED:
            said.append("generator")
        return "+".join(said)


def spread(values):
    middle = statistics.median(values)
    return {"median": middle, "min": min(values), "max": max(values), "mad": statistics.median(abs(v - middle) for v in values),
            "n": len(values)}
