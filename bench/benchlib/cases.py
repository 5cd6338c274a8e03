"""What is measured: every experiment but those with a machinery of their own (node, start, memory, flood, growth)."""
from dataclasses import dataclass, field

from .peers import FLOOR, OURS, OURS_LIBSSL, TLS_PEERS

ALL = [OURS, *TLS_PEERS, FLOOR]
TLS = [OURS, *TLS_PEERS]
CIPHERS = {"aes128": "AES-128-GCM", "aes256": "AES-256-GCM", "chacha": "ChaCha20-Poly1305"}


@dataclass
class Case:
    key: str
    title: str
    mode: str
    unit: str = "us"  # of proxy CPU time, for one operation; bulk: "ms/GB"
    peers: list = field(default_factory=lambda: ALL)
    options: dict = field(default_factory=dict)  # for work.measure()
    cert: str = "ecdsa"
    client_auth: bool = False  # clients show a certificate
    quick: bool = False
    wanted: float | None = None  # ratio of tls-off to the best peer with TLS


def size_name(n):
    return f"{n // 1000} kB" if n >= 1000 else f"{n} B"


def echo(size, connections, quick=False, wanted=None):
    return Case(f"echo-{size}-{connections}", f"echo {size_name(size)}, {connections} connections", "echo", quick=quick, wanted=wanted,
                options={"size": size, "connections": connections})


def steady(rate, wanted=None):
    return Case(f"rate-{rate}", f"echo 100 B at {rate // 1000},000 requests/s, 100 connections", "echo", quick=True, wanted=wanted,
                options={"size": 100, "connections": 100, "rate": rate})


def connection(cert, version, resume=False, quick=False, wanted=None, at_once=16, rate=0, lean=False, client_auth=False):
    """
    Either path of TLS 1.3. libssl's client costs more than the proxy, which so sleeps between connections: before each of them at a
    RATE, half of the time with 16 at once. The lean client keeps it at its limit.
    """
    how = "resumed" if resume else {"ecdsa": "full, ECDSA P-256", "rsa": "full, RSA-2048"}[cert]
    if client_auth:
        how += ", client certificate"
    key = f"connect-{'resumed' if resume else cert}-{version}" + (f"-paced-{rate}" if rate else f"-{at_once}" if at_once != 16 else "")
    when = f"{rate} a second" if rate else f"{at_once} at once, saturated" if lean else f"{at_once} at once"
    peers = ALL if version == "1.3" and not resume and not rate and not client_auth else TLS
    options = {"connections": 64 if rate else at_once, "size": 100, "version": version, "resume": resume, "rate": rate, "lean": lean}
    if client_auth:
        options["identity"] = "client"
    return Case(key + ("-client" if client_auth else ""), f"connection, TLS {version} {how}, {when}, one echo of 100 B", "connect",
                cert=cert, quick=quick, wanted=wanted, client_auth=client_auth,
                peers=[OURS, OURS_LIBSSL, *peers[1:]] if version == "1.3" else peers, options=options)


def bulk(direction, cipher, connections, quick=False, wanted=None):
    to = {"down": "to the client", "up": "from the client"}[direction]
    return Case(f"bulk-{direction}-{cipher}-{connections}",
                f"bulk {to}, {CIPHERS[cipher]}, {connections} connection{'s' if connections > 1 else ''}", direction, unit="ms/GB",
                quick=quick, wanted=wanted, options={"connections": connections, "size": 8 << 20, "cipher": cipher})


def wanted(key):
    return next((c.wanted for _, its in GROUPS.values() for c in its if c.key == key), None)


GROUPS = {
    "echo": ("Small requests on kept-alive connections", [
        echo(100, 100, quick=True, wanted=0.8), echo(100, 1000, quick=True), echo(1000, 100),
        echo(10000, 100, quick=True, wanted=0.7)]),
    "rates": ("Small requests at equal rates (open loop: a request counts from when it was due)", [steady(20000), steady(60000)]),
    "connections": ("Connections with a handshake", [
        connection("ecdsa", "1.3", quick=True, wanted=0.75), connection("ecdsa", "1.3", resume=True, quick=True, wanted=0.75),
        connection("rsa", "1.3", quick=True, wanted=0.85),
        connection("ecdsa", "1.3", at_once=64, lean=True, wanted=0.58),
        connection("ecdsa", "1.3", resume=True, at_once=64, lean=True, wanted=0.62),
        connection("rsa", "1.3", at_once=64, lean=True, wanted=0.78), connection("ecdsa", "1.3", rate=500, wanted=0.8),
        connection("ecdsa", "1.3", client_auth=True, wanted=0.8), connection("ecdsa", "1.2", wanted=1.05),
        connection("ecdsa", "1.2", resume=True, wanted=1.1), connection("rsa", "1.2")]),
    "bulk": ("Bulk transfer", [
        bulk("down", "aes128", 8, quick=True, wanted=0.55), bulk("up", "aes128", 8, quick=True, wanted=0.7),
        bulk("down", "chacha", 8, quick=True, wanted=0.75), bulk("up", "chacha", 8, wanted=0.75),
        bulk("down", "aes256", 8, wanted=0.55), bulk("up", "aes256", 8, wanted=0.7), bulk("down", "aes128", 1),
        bulk("up", "aes128", 1), bulk("down", "chacha", 1), bulk("up", "chacha", 1), bulk("down", "aes256", 1),
        bulk("up", "aes256", 1)]),
}
