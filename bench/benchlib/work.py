"""One measurement: the load generator works through a proxy while CPU time of everything is read before and after."""
import json
import os
import select
import subprocess
import time

from . import procs
from .machine import Ahead
from .peers import SUITES12, SUITES13, run_on


class LoadError(Exception):
    pass


class Load:
    """bench-load, spoken to line by line."""

    def __init__(self, peer, mode, cpus=None, version="1.3", cipher="aes128", cert="ecdsa", resume=False, realtime=False, lean=False,
                 identity=None, **numbers):
        site = peer.site
        command = [str(site.tools / "bench-load"), mode, "--port", str(peer.port)]
        for name, value in numbers.items():
            command += [f"--{name}", str(value)]
        if not peer.tls:
            command.append("--plain")
        elif version == "1.2":
            command += ["--tls12", "--cipher", f"ECDHE-{cert.upper()}-{SUITES12[cipher]}"]
        else:
            command += ["--cipher", SUITES13[cipher]]
        if resume:
            command.append("--resume")
        if lean and peer.tls:
            command.append("--lean")
        if identity:
            command += ["--identity", str(site.directory / f"{identity}.both")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        preexec_fn=run_on(cpus or site.cpus.load), start_new_session=True)
        Ahead.put(self.process.pid)
        if realtime:
            make_realtime(self.process.pid)

    def receive_line(self, seconds=120):
        """The next line; an error without one."""
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            self.process.kill()
            raise LoadError(self.process.stderr.read().decode(errors="replace").strip() or "load generator: no answer")
        return json.loads(line)

    def send_line(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def close(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.close()
                self.process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def make_realtime(pid):
    """A process that measures latency must not wait for the load beside it. Without the privilege the results are noisier."""
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(10))
    except PermissionError:
        pass


class Meter:
    """CPU seconds of the proxy, the load and the backend between start() and stop()."""

    def __init__(self, peer, loads):
        self.peer, self.loads = peer, loads

    def start(self):
        self.pids = self.peer.pids()
        self.host = procs.host_busy()
        self.split = procs.split(self.pids)
        self.cpu = procs.cpu_of(self.pids)
        self.side = procs.cpu_of(self._side())
        self.began = time.monotonic()

    def _side(self):
        backend = self.peer.site.backend
        return [load.process.pid for load in self.loads] + ([backend.pid] if backend else [])

    def stop(self):
        seconds = time.monotonic() - self.began
        # What a proxy still does for the last connections belongs to them.
        time.sleep(0.03)
        pids = self.peer.pids()
        proxy = procs.grown(self.cpu, procs.cpu_of(pids))
        side = procs.grown(self.side, procs.cpu_of(self._side()))
        user, system = (b - a for a, b in zip(self.split, procs.split(pids)))
        host = procs.host_busy()
        busy = sum(host[c] - self.host[c] for c in self.peer.site.cpus.all)
        generator = self.peer.site.cpus.generator()
        return {"wall_s": seconds, "proxy_cpu_s": proxy, "proxy_user_s": user, "proxy_system_s": system, "side_cpu_s": side,
                "proxy_busy": proxy / seconds / len(self.peer.cpus), "generator_busy": side / seconds / len(generator),
                "foreign_busy": max(0.0, busy - proxy - side) / seconds}


def measure(peer, mode, before_close=None, **options):
    """Figures of one run, as they are written to latest.json. BEFORE_CLOSE is called while the connections are still open."""
    with Load(peer, mode, **options) as load:
        ready = load.receive_line()
        meter = Meter(peer, [load])
        meter.start()
        load.send_line()
        result = load.receive_line()
        cost = meter.stop()
        if before_close:
            before_close()
        load.send_line()
        load.receive_line()
        load.send_line()
    if not result["ops"]:
        raise LoadError("no operation was completed")
    if options.get("resume") and result["resumed"] < 0.98 * result["ops"]:
        raise LoadError(f"only {result['resumed']} of {result['ops']} sessions were resumed")
    stats = {**result, **cost, "version": ready["version"], "cipher": ready["cipher"]}
    stats["rate"] = result["ops"] / result["seconds"] if result["seconds"] else 0
    stats["gb"] = result["bytes"] / 1e9
    if mode in ("down", "up"):
        stats["cost"] = cost["proxy_cpu_s"] * 1e3 / stats["gb"]
        stats["mb_per_s"] = result["bytes"] / 1e6 / result["seconds"]
    else:
        stats["cost"] = cost["proxy_cpu_s"] * 1e6 / result["ops"]
    return stats
