"""The machine: which CPU is whose, a network of our own, what to write into the report."""
import fcntl
import os
import pathlib
import platform
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys

MARK = "TLS_OFF_BENCH_NETNS"


def own_network(arguments):
    """Continues in a network namespace of its own where that is allowed: free ports, no other connections, and cubic."""
    if os.environ.get(MARK) or os.geteuid() != 0 or not shutil.which("unshare"):
        return
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    if probe.returncode == 0:
        os.environ[MARK] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *arguments])


def raise_loopback():
    if not os.environ.get(MARK):
        return
    with socket.socket() as s:
        flags = struct.unpack("16sh", fcntl.ioctl(s, 0x8913, struct.pack("16sh", b"lo", 0))[:18])[1]
        fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", flags | 1))
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("10240 65000")
    # A namespace may not change its default to an algorithm that the host restricts, but a route may name one.
    if shutil.which("ip"):
        for to in ("127.0.0.0/8", "127.0.0.1"):
            subprocess.run(["ip", "route", "replace", "local", to, "dev", "lo", "table", "local", "proto", "kernel", "scope",
                            "host", "src", "127.0.0.1", "congctl", "cubic"], capture_output=True)


def congestion():
    """As a connection over loopback really has it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            names = {s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode() for s in (client, accepted)}
    return "/".join(sorted(names))


def raise_limits():
    """Descriptors a process may have; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > 100000:
        hard = max(soft, 100000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard


class Ahead:
    """
    On a machine that is shared: proxies, load and backend, which have scheduling groups of their own, go before strangers. They still share
    caches with them, so a proxy that sleeps between two steps begins the next one cold.
    """

    wanted = False

    @classmethod
    def want(cls):
        if os.geteuid() != 0 or not pathlib.Path("/proc/self/autogroup").exists():
            raise SystemExit("--ahead: needs root and a kernel with CONFIG_SCHED_AUTOGROUP")
        cls.wanted = True

    @classmethod
    def put(cls, pid):
        if cls.wanted:
            pathlib.Path(f"/proc/{pid}/autogroup").write_text("-14")


class Cpus:
    """The proxy alone on the last CPU; load generator and backend on the first, or on two of their own when there are four."""

    def __init__(self):
        usable = sorted(os.sched_getaffinity(0))
        self.all = usable
        self.load = [usable[0]]
        self.backend = [usable[1] if len(usable) > 3 else usable[0]]
        self.proxy = [usable[-1]]
        # Several workers: all that is left, or on a small machine everything.
        rest = [c for c in usable if c not in self.load + self.backend]
        self.many = rest if len(usable) > 3 else usable

    def for_workers(self, workers):
        return self.proxy if workers == 1 else self.many[:workers] if len(self.all) > 3 else self.many

    def generator(self):
        return sorted(set(self.load + self.backend))


def first_line(*command):
    try:
        r = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    text = (r.stdout + r.stderr).strip()
    return text.splitlines()[0] if text else None


def package(name):
    r = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True)
    return r.stdout if r.returncode == 0 else None


def describe(binary, cpus):
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    flags = set((re.search(r"flags\s*: (.*)", cpuinfo) or [None, ""])[1].split())
    proc = pathlib.Path("/proc/sys")
    autogroup = proc / "kernel/sched_autogroup_enabled"
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) // 1024
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(cpus.all),
        "cpu_features": [f for f in ("aes", "vaes", "avx512f", "avx512ifma", "sha_ni", "vpclmulqdq") if f in flags],
        "virtual": "hypervisor" in flags,
        "memory_mb": memory,
        "kernel": platform.release(),
        "system": next((line.split("=", 1)[1].strip('"') for line in pathlib.Path("/etc/os-release").read_text().splitlines()
                        if line.startswith("PRETTY_NAME=")), ""),
        "congestion": congestion(),
        "own_network": bool(os.environ.get(MARK)),
        "sched_autogroup": autogroup.read_text().strip() if autogroup.exists() else "none",
        "cpu_of_proxy": cpus.proxy, "cpu_of_load": cpus.load, "cpu_of_backend": cpus.backend,
        "versions": {
            "tls-off": subprocess.run([binary, "version"], capture_output=True, text=True).stdout.strip().replace("\n", ", "),
            "haproxy": package("haproxy"), "nginx": package("nginx"), "hitch": package("hitch"), "stunnel": package("stunnel4"),
            "node": first_line("node", "--version"), "wrk": package("wrk"), "openssl": first_line("openssl", "version", "-v"),
        },
    }
