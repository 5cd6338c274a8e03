"""Running cases: all peers started once for a group, rounds interleaved, the order turned each round."""
import sys
import time

from . import cases, work
from .peers import Peer, StartError


class Settings:
    def __init__(self, quick, rounds=None, seconds=None, only=None, peers=None):
        self.quick = quick
        self.rounds = rounds or (3 if quick else 5)
        self.seconds = seconds or (0.6 if quick else 1.5)
        self.only, self.peers = only, peers

    def wanted_peers(self, names):
        """stunnel is never the best, and slow to measure: a quick run does without."""
        return [n for n in names if (n in self.peers if self.peers else not (self.quick and n == "stunnel"))]

    def wants(self, key):
        return not self.only or any(key.startswith(o) for o in self.only)


def progress(text):
    print(text, file=sys.stderr, flush=True)


class Stage:
    """Peers that are running, by (name, certificate, whether clients show one); each is started when first asked for."""

    def __init__(self, site, results):
        self.site, self.results, self.running = site, results, {}

    def peer(self, name, cert, client_auth=False):
        key = (name, cert, client_auth)
        if key not in self.running or (self.running[key] and not self.running[key].alive()):
            if key in self.running and self.running[key]:
                self.results.note(f"{name} ended on its own and was restarted")
                self.running[key].stop()
            try:
                self.running[key] = Peer(self.site, name, cert, client_auth=client_auth).start()
            except (StartError, OSError) as e:
                self.results.note(f"{name}: {e}")
                self.running[key] = None
        return self.running[key]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in self.running.values():
            if peer:
                peer.stop()


def turned(names, by):
    by %= len(names) or 1
    return names[by:] + names[:by]


def run_case(stage, settings, group, case, round_):
    names = settings.wanted_peers(case.peers)
    for name in turned(names, round_):
        peer = stage.peer(name, "ecdsa" if name.endswith("plain") else case.cert, case.client_auth)
        if not peer:
            continue
        try:
            stats = work.measure(peer, case.mode, cert=case.cert, seconds=settings.seconds, **case.options)
        except (work.LoadError, ValueError) as e:
            stage.results.note(f"{name}, {case.title}: {e}")
            continue
        stage.results.add(group, case.key, case.title, case.unit, name, round_, stats)


def run_group(site, settings, results, group, changed=lambda: None):
    title, all_cases = cases.GROUPS[group]
    chosen = [c for c in all_cases if settings.wants(c.key) or settings.wants(group)]
    if settings.quick:
        chosen = [c for c in chosen if c.quick]
    began = time.monotonic()
    with Stage(site, results) as stage:
        for round_ in range(settings.rounds):
            for case in chosen:
                run_case(stage, settings, group, case, round_)
            progress(f"{title}: round {round_ + 1} of {settings.rounds}, {time.monotonic() - began:.0f} s")
            changed()
