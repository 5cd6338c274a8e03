"""The blog post's experiment: response time of POST echoes by body size, node alone and behind proxies."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

from . import procs, work
from .experiments import progress, turned
from .peers import FLOOR, OURS, TEMPLATES, Peer, StartError, free_port, run_on

BEHIND = [OURS, "haproxy", "hitch", "nginx", FLOOR]
DIRECT = ["node http", "node https"]
CONNECTIONS = 100


# Node and proxies stay in one session, that is one scheduling group (kernel.sched_autogroup): with a group each, a node behind a
# proxy would get two shares of a CPU that others use too, and node alone one.

class Node:
    def __init__(self, site, kind, processes=None, cpus=None):
        self.kind = kind
        self.where = str(site.directory / f"node-{processes or 0}.sock") if kind == "sock" else str(free_port())
        # All of the application's CPUs but one: wrk's. On two CPUs that is one process.
        processes = processes or (max(1, len(site.cpus.all) - 1) if len(site.cpus.all) > 3 else 1)
        command = ["node", str(TEMPLATES / "echo.js"), kind, self.where, str(processes), str(site.directory / "ecdsa.pem"),
                   str(site.directory / "ecdsa.key")]
        environment = dict(os.environ, BENCH_CIPHERS="TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment,
                                        preexec_fn=run_on(cpus or site.cpus.proxy))
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            family, to = (socket.AF_UNIX, self.where) if self.kind == "sock" else (socket.AF_INET, ("127.0.0.1", int(self.where)))
            with socket.socket(family) as s:
                try:
                    s.connect(to)
                    return
                except OSError:
                    time.sleep(0.02)
        raise StartError(f"node {self.kind} did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def run_wrk(site, url, size, seconds, threads=1, cpus=None):
    command = ["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(TEMPLATES / "post.lua"), url]
    before = os.times()
    done = subprocess.run(command, env=dict(os.environ, BODY_SIZE=str(size)), capture_output=True, text=True,
                          preexec_fn=run_on(cpus or site.cpus.load), start_new_session=True)
    after = os.times()
    if done.returncode:
        raise StartError("wrk: " + done.stderr.strip()[-300:])
    stats = json.loads(done.stdout.splitlines()[-1])
    stats["generator_busy"] = (after.children_user + after.children_system - before.children_user - before.children_system) / seconds
    return stats


def one(site, url, node, peer, size, seconds):
    node_pids = procs.tree(node.process.pid)
    proxy_pids = peer.pids() if peer else []
    node_before, proxy_before, host = procs.cpu_of(node_pids), procs.cpu_of(proxy_pids), procs.host_busy()
    stats = run_wrk(site, url, size, seconds)
    busy = sum(t - host[c] for c, t in procs.host_busy().items() if c in site.cpus.all)
    node_cpu = procs.grown(node_before, procs.cpu_of(node_pids))
    proxy_cpu = procs.grown(proxy_before, procs.cpu_of(proxy_pids))
    requests = stats["requests"]
    stats.update(cost=stats["p50_us"] / 1e3, p99_ms=stats["p99_us"] / 1e3, rate=requests / stats["seconds"], node_us=node_cpu * 1e6 / requests,
                   proxy_us=proxy_cpu * 1e6 / requests, both_us=(proxy_cpu + node_cpu) * 1e6 / requests, proxy_busy=proxy_cpu / stats["seconds"],
                   app_busy=(proxy_cpu + node_cpu) / stats["seconds"],
                   foreign_busy=max(0.0, busy - node_cpu - proxy_cpu - stats["generator_busy"] * seconds) / seconds)
    return stats


def start_all(site, settings, results):
    nodes = {kind: Node(site, kind) for kind in ("http", "https", "sock")}
    places = {"node http": (f"http://127.0.0.1:{nodes['http'].where}/", nodes["http"], None),
              "node https": (f"https://127.0.0.1:{nodes['https'].where}/", nodes["https"], None)}
    names = [n for n in BEHIND if n not in ("nginx",)] if settings.quick else BEHIND
    for name in settings.wanted_peers(names):
        try:
            peer = Peer(site, name, backend=pathlib.Path(nodes["sock"].where), suites=("aes128",)).start(own_session=False)
        except (StartError, OSError) as e:
            results.note(f"{name}: {e}")
            continue
        places[name] = (f"{'https' if peer.tls else 'http'}://127.0.0.1:{peer.port}/", nodes["sock"], peer)
    return nodes, places


def run_node(site, settings, results, changed):
    if not shutil.which("node") or not shutil.which("wrk"):
        results.note("node or wrk is missing: its experiment was skipped")
        return
    sizes = [100, 10000] if settings.quick else [10, 100, 1000, 10000]
    seconds, rounds = (2, 2) if settings.quick else (5, settings.rounds)
    nodes, places = start_all(site, settings, results)
    try:
        for url, _, _ in places.values():
            run_wrk(site, url, 1000, 1)
        for round_ in range(rounds):
            for size in sizes:
                for name in turned(list(places), round_):
                    url, node, peer = places[name]
                    try:
                        stats = one(site, url, node, peer, size, seconds)
                    except (StartError, ValueError, ZeroDivisionError) as e:
                        results.note(f"{name}, body of {size}: {e}")
                        continue
                    results.add("node", f"node-{size}", f"POST echo, {size} B", "ms", name, round_, {**stats, "x": size})
            progress(f"node and wrk: round {round_ + 1} of {rounds}")
            changed()
    finally:
        for _, _, peer in places.values():
            if peer:
                peer.stop()
        for node in nodes.values():
            node.stop()


# --- new clients while the application fills the CPUs

START_CPUS = 2
START_BODY = 100


def one_start(peer, url, seconds):
    """A hundred connections at once, then a request on each after the other: by our own client, which times handshakes, and by wrk."""
    site, cpus = peer.site, peer.cpus
    with work.Load(peer, "web", cpus=cpus, connections=CONNECTIONS, size=START_BODY, seconds=seconds) as load:
        load.receive_line()
        load.send_line()
        own = load.receive_line()
        load.send_line()
        load.receive_line()
        load.send_line()
    wrk = run_wrk(site, url, START_BODY, seconds, threads=START_CPUS, cpus=cpus)
    if own["handshakes"] < CONNECTIONS:
        raise work.LoadError(f"only {own['handshakes']} of {CONNECTIONS} handshakes were made")
    ms = lambda stats, name: stats[name] / 1e3
    return {"cost": ms(own, "handshake_p50_us"), "handshake_p50_ms": ms(own, "handshake_p50_us"),
            "handshake_p99_ms": ms(own, "handshake_p99_us"), "p50_ms": ms(own, "p50_us"), "p99_ms": ms(own, "p99_us"),
            "rate": own["ops"] / own["seconds"], "load_us": own["cpu_ms"] * 1e3 / own["ops"], "errors": own["errors"] + wrk["errors"],
            "wrk_p50_ms": ms(wrk, "p50_us"), "wrk_p99_ms": ms(wrk, "p99_us"), "wrk_rate": wrk["requests"] / wrk["seconds"]}


def run_start(site, settings, results, changed):
    if not shutil.which("node") or not shutil.which("wrk"):
        results.note("node or wrk is missing: the experiment with new clients was skipped")
        return
    cpus = site.cpus.all[:START_CPUS]
    seconds, rounds = (2, 2) if settings.quick else (4, settings.rounds)
    node = Node(site, "sock", processes=2, cpus=cpus)
    peers = {}
    try:
        for name in settings.wanted_peers([OURS, "haproxy", "nginx", "hitch"]):
            try:
                peers[name] = Peer(site, name, workers=2, cpus=cpus, backend=pathlib.Path(node.where), suites=("aes128",)).start(own_session=False)
            except (StartError, OSError) as e:
                results.note(f"{name}: {e}")
        for round_ in range(rounds):
            for name in turned(list(peers), round_):
                url = f"https://127.0.0.1:{peers[name].port}/"
                try:
                    run_wrk(site, url, START_BODY, 1, cpus=cpus)  # the application is warm
                    results.add("start", "start", "handshakes beside a busy application", "ms", name, round_, one_start(peers[name], url, seconds))
                except (StartError, work.LoadError, OSError, ValueError, KeyError) as e:
                    results.note(f"{name}, start: {e}")
            progress(f"New clients of a busy application: round {round_ + 1} of {rounds}")
            changed()
    finally:
        for peer in peers.values():
            peer.stop()
        node.stop()
