"""The experiments with a machinery of their own: memory, flood, growth."""
import os
import socket
import ssl
import time

from . import procs, work
from .experiments import Stage, progress, turned
from .peers import FLOOR, OURS, OURS_LIBSSL, TLS_PEERS, Peer, StartError

ALL = [OURS, *TLS_PEERS, FLOOR]
UNDER_WAY = 1000  # handshakes, each up to some 50 KB
# The beginning of a ClientHello of 512 bytes.
PART_OF_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(32)


def each_fresh(site, settings, results, names, round_, work_on, **options):
    """Calls WORK_ON with each peer, started for it alone and ended after."""
    for name in turned(settings.wanted_peers(names), round_):
        peer = None
        try:
            peer = Peer(site, name, **options).start()
            work_on(peer)
        except (StartError, work.LoadError, OSError, ValueError) as e:
            results.note(f"{name}: {e}")
        finally:
            if peer:
                peer.stop()


# --- memory ---

def hold_idle(peer, count, look):
    """COUNT sessions that have passed 20 kB each way and then wait; LOOK is called while they do. All closed on return."""
    with work.Load(peer, "idle", connections=count) as load:
        load.receive_line(300)
        time.sleep(0.3)
        stat = look()
        load.send_line()
        load.receive_line()
        load.send_line()
    return stat


def whole_hello():
    """What libssl's client of TLS 1.3 says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    said = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), said).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return said.read()


def hold_silent(peer, count, look, said, is_answered):
    """COUNT connections whose clients have SAID so much, and then wait."""
    sockets = []
    try:
        for i in range(count):
            sockets.append(socket.create_connection(("127.0.0.1", peer.port), timeout=30))
            sockets[-1].sendall(said)
        for s in sockets if is_answered else []:
            if not s.recv(1):
                raise OSError("a connection was refused amid its handshake")
        time.sleep(0.5)
        return look()
    finally:
        for s in sockets:
            s.close()


def memory_of(peer, count, round_, results):
    def look():
        return procs.memory(peer.pids())

    # Between a few sessions and many: what the first handshakes set up once belongs to no session.
    whole, _ = look()
    few = count // 5
    _, with_few = hold_idle(peer, few, look)
    time.sleep(0.5)
    _, with_many = hold_idle(peer, count, look)
    time.sleep(1.5)
    whole_closed, closed = look()

    def add(case, title, unit, value):
        results.add("memory", case, title, unit, peer.name, round_, {"cost": value, "sessions": count})

    add("memory-idle", f"an idle session, between {few} and {count}", "bytes", (with_many - with_few) / (count - few))
    add("memory-start", "all processes, before", "MB", whole / 1e6)
    add("memory-closed", f"all processes, after {count} sessions came and went", "MB", whole_closed / 1e6)
    if peer.tls:
        _, silent = hold_silent(peer, count, look, PART_OF_HELLO, False)
        add("memory-hello", "a connection amid its ClientHello", "bytes", max(0, silent - closed) / count)


def memory_under_way(peer, round_, results):
    """In a process that has made few handshakes before: what many have left in its heap would hide these."""
    if not peer.tls:
        return
    hello = whole_hello()
    look = lambda: procs.memory(peer.pids())[1]
    few = hold_silent(peer, UNDER_WAY // 10, look, hello, True)
    many = hold_silent(peer, UNDER_WAY, look, hello, True)
    results.add("memory", "memory-handshake", f"a handshake whose client has yet to send its Finished, {UNDER_WAY} of them", "bytes",
                peer.name, round_, {"cost": max(0, many - few) / (UNDER_WAY - UNDER_WAY // 10), "sessions": UNDER_WAY})


def run_memory(site, settings, results, changed):
    count = min(2000 if settings.quick else 5000, (site.fds - 300) // 2)
    for round_ in range(1 if settings.quick else min(3, settings.rounds)):
        each_fresh(site, settings, results, [OURS_LIBSSL, *ALL], round_, lambda peer: memory_of(peer, count, round_, results))
        each_fresh(site, settings, results, [OURS_LIBSSL, *ALL], round_, lambda peer: memory_under_way(peer, round_, results))
        progress(f"Memory: round {round_ + 1}")
        changed()


# --- flood ---

FLOODS = [("quiet", "no flood", None), ("500", "500 handshakes/s", 500), ("unbounded", "as many handshakes as go", 0),
          ("lean", "as many handshakes as go, lean client", 0)]


def flooded(peer, seconds, rate, lean):
    """Echo latency on ten established sessions, a request each millisecond, while new connections come with RSA-2048."""
    flood = victim = None
    try:
        victim = work.Load(peer, "echo", cert="rsa", realtime=True, connections=10, size=100, rate=1000, seconds=seconds)
        victim.receive_line()
        if rate is not None:
            flood = work.Load(peer, "connect", cert="rsa", connections=128, size=100, seconds=seconds + 1, rate=rate, lean=lean)
            flood.receive_line()
            flood.send_line()
            time.sleep(0.5)
        meter = work.Meter(peer, [load for load in (victim, flood) if load])
        meter.start()
        victim.send_line()
        stats = victim.receive_line()
        cost = meter.stop()
        result = {**stats, **cost, "cost": stats["p99_us"]}
        if flood:
            theirs = flood.receive_line()
            result.update(flood_rate=theirs["ops"] / theirs["seconds"], flood_p50_us=theirs["p50_us"], flood_p99_us=theirs["p99_us"],
                          flood_errors=theirs["errors"])
        return result
    finally:
        for load in (victim, flood):
            if load:
                load.close()


def run_flood(site, settings, results, changed):
    seconds = 1.5 if settings.quick else 5.0
    policy = os.sched_getscheduler(site.backend.pid)
    work.make_realtime(site.backend.pid)
    try:
        with Stage(site, results) as stage:
            for round_ in range(min(settings.rounds, 2 if settings.quick else 5)):
                for case, title, rate in FLOODS:
                    for name in turned(settings.wanted_peers([OURS, OURS_LIBSSL, *TLS_PEERS]), round_):
                        peer = stage.peer(name, "rsa")
                        if not peer:
                            continue
                        try:
                            stats = flooded(peer, seconds, rate, case == "lean")
                        except (work.LoadError, OSError) as e:
                            results.note(f"{name}, flood of {title}: {e}")
                            continue
                        results.add("flood", f"flood-{case}", title, "us", name, round_, stats)
                progress(f"Handshake flood: round {round_ + 1}")
                changed()
    finally:
        os.sched_setscheduler(site.backend.pid, policy, os.sched_param(0))


# --- growth ---

def with_memory(peer, connections, **options):
    _, before = procs.memory(peer.pids())
    seen = {}

    def look():
        _, seen["own"] = procs.memory(peer.pids())

    stats = work.measure(peer, "echo", connections=connections, before_close=look, **options)
    stats["session_bytes"] = max(0, seen["own"] - before) / connections
    return stats


def run_sessions(site, settings, results, changed):
    most = min(10000, site.fds * 45 // 100)  # two descriptors each, and some to spare
    counts = [10, 1000] if settings.quick else [10, 100, 1000, most]
    names = [OURS, "haproxy"] if settings.quick else [OURS, "haproxy", "nginx", "hitch", FLOOR]
    for round_ in range(1 if settings.quick else min(3, settings.rounds)):
        for count in counts:
            def one(peer):
                stats = with_memory(peer, count, active=min(count, 100), size=100, seconds=settings.seconds)
                results.add("sessions", f"sessions-{count}", f"{count} sessions, {min(count, 100)} requests under way", "us", peer.name,
                            round_, {**stats, "x": count})
            each_fresh(site, settings, results, names, round_, one)
        progress(f"Growth by sessions: round {round_ + 1}")
        changed()


SETTLE = 4


def run_workers(site, settings, results, changed):
    if settings.quick:
        return
    for round_ in range(min(3, settings.rounds)):
        for workers in (1, 2, 4, 8):
            def one(peer):
                work.measure(peer, "echo", connections=200, size=100, seconds=SETTLE)  # processes find their CPUs
                echo = work.measure(peer, "echo", connections=200, size=100, seconds=settings.seconds)
                results.add("workers", f"workers-echo-{workers}", f"echo 100 B, {workers} worker{'s' * (workers > 1)}", "us", peer.name,
                            round_, {**echo, "x": workers})
                full = work.measure(peer, "connect", connections=32, size=100, seconds=settings.seconds)
                results.add("workers", f"workers-connect-{workers}", f"full handshake ECDSA, {workers} worker{'s' * (workers > 1)}", "us",
                            peer.name, round_, {**full, "x": workers})
            each_fresh(site, settings, results, [OURS, "haproxy", "nginx", "hitch"], round_, one, workers=workers)
        progress(f"Growth by workers: round {round_ + 1}")
        changed()
