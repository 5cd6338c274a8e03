"""The proxies under test: each from its own configuration file in bench/peers/, none from the system's."""
import grp
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import time

from . import procs
from .machine import Ahead

TEMPLATES = pathlib.Path(__file__).resolve().parent.parent / "peers"
SUITES13 = {"aes128": "TLS_AES_128_GCM_SHA256", "aes256": "TLS_AES_256_GCM_SHA384", "chacha": "TLS_CHACHA20_POLY1305_SHA256"}
SUITES12 = {"aes128": "AES128-GCM-SHA256", "aes256": "AES256-GCM-SHA384", "chacha": "CHACHA20-POLY1305"}
IANA12 = {"aes128": "AES_128_GCM_SHA256", "aes256": "AES_256_GCM_SHA384", "chacha": "CHACHA20_POLY1305_SHA256"}

# name -> (configuration, command line, may use TLS)
KINDS = {
    "tls-off": ("tls-off.toml", ["@BINARY@", "run", "@CONFIG@"]),
    "tls-off-libssl": ("tls-off.toml", ["@BINARY@", "run", "@CONFIG@"]),
    "haproxy": ("haproxy.cfg", ["haproxy", "-db", "-q", "-f", "@CONFIG@"]),
    "nginx": ("nginx.conf", ["nginx", "-p", "@DIRECTORY@", "-e", "stderr", "-c", "@CONFIG@"]),
    "hitch": ("hitch.conf", ["hitch", "--config=@CONFIG@"]),
    "stunnel": ("stunnel.conf", ["stunnel4", "@CONFIG@"]),
    "haproxy-plain": ("haproxy-plain.cfg", ["haproxy", "-db", "-q", "-f", "@CONFIG@"]),
}
# What asks clients for a certificate of @CA@; where the configuration file says so.
CLIENT_AUTH = {
    "tls-off.toml": '[service.bench.client_auth]\nmode = "required"\nca = "@CA@"',
    "haproxy.cfg": "verify required ca-file @CA@",
    "nginx.conf": "ssl_verify_client on;\n        ssl_client_certificate @CA@;",
    "hitch.conf": 'client-verify = required\nclient-verify-ca = "@CA@"',
    "stunnel.conf": "verifyChain = yes\nCAfile = @CA@",
}
TLS_PEERS = ["haproxy", "nginx", "hitch", "stunnel"]
FLOOR = "haproxy-plain"
OURS = "tls-off"
OURS_LIBSSL = "tls-off-libssl"  # handshake = "libssl": TLS 1.3 by libssl, too


class StartError(Exception):
    pass


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def run_on(cpus):
    return lambda: os.sched_setaffinity(0, cpus)


class Site:
    """What all peers share: a directory, certificates, the backend."""

    def __init__(self, directory, tools, binary, cpus, fds, engine="auto"):
        self.directory, self.tools, self.binary, self.cpus, self.fds, self.engine = directory, tools, binary, cpus, fds, engine
        self.backend_path = directory / "app.sock"
        self.backend = None
        p256 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        for kind, how in (("ecdsa", p256), ("rsa", ["rsa:2048"]), ("client", p256)):
            self._make_certificate(kind, how)

    def _make_certificate(self, kind, how):
        cert, key = self.directory / f"{kind}.pem", self.directory / f"{kind}.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", *how, "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
        (self.directory / f"{kind}.both").write_text(cert.read_text() + key.read_text())

    def start_backend(self):
        self.backend = subprocess.Popen([self.tools / "bench-backend", self.backend_path], stdout=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, preexec_fn=run_on(self.cpus.backend), start_new_session=True)
        if self.backend.stdout.readline() != b"ready\n":
            raise StartError("the backend did not start")
        Ahead.put(self.backend.pid)

    def stop_backend(self):
        if self.backend:
            self.backend.terminate()
            self.backend.wait()
            self.backend.stdout.close()
            self.backend = None
            self.backend_path.unlink(missing_ok=True)


class Peer:
    def __init__(self, site, name, cert="ecdsa", workers=1, backend=None, suites=("aes128", "aes256", "chacha"), cpus=None,
                 client_auth=False):
        self.site, self.name, self.workers = site, name, workers
        self.port = free_port()
        self.tls = name != FLOOR
        self.cpus = cpus or site.cpus.for_workers(workers)
        self.directory = site.directory / f"{name}-{self.port}"
        self.directory.mkdir()
        self.process = None
        template, command = KINDS[name]
        words = self._words(cert, backend or site.backend_path, suites)
        words["CLIENT_AUTH"] = CLIENT_AUTH.get(template, "").replace("@CA@", str(site.directory / "client.pem")) if client_auth else ""
        words["CONFIG"] = str(self.directory / template)
        (self.directory / template).write_text(fill(TEMPLATES.joinpath(template).read_text(), words))
        self.command = [fill(w, words) for w in command]

    def _words(self, cert, backend, suites):
        user = pwd.getpwuid(os.geteuid())
        fds = self.site.fds
        twelve = [f"ECDHE-{a}-{SUITES12[s]}" for s in suites for a in ("ECDSA", "RSA")]
        iana = [SUITES13[s] for s in suites] + [f"TLS_ECDHE_{a}_WITH_{IANA12[s]}" for s in suites for a in ("ECDSA", "RSA")]
        return {
            "BINARY": self.site.binary, "DIRECTORY": str(self.directory), "PORT": str(self.port), "BACKEND": str(backend),
            "CERT": str(self.site.directory / f"{cert}.pem"), "KEY": str(self.site.directory / f"{cert}.key"),
            "PEM": str(self.site.directory / f"{cert}.both"), "USER": user.pw_name, "GROUP": grp.getgrgid(user.pw_gid).gr_name,
            "WORKERS": str(self.workers), "FDS": str(fds), "SESSIONS": str((fds - 100) // 2), "ENGINE": self.site.engine,
            "HANDSHAKE": "libssl" if self.name == OURS_LIBSSL else "auto",
            "SUITES13": ":".join(SUITES13[s] for s in suites), "CIPHERS12": ":".join(twelve),
            "SUITES_TOML": ", ".join(f'"{s}"' for s in iana), "NGINX_STREAM": "/usr/lib/nginx/modules/ngx_stream_module.so",
            "STUNNEL_USER": f"setuid = {user.pw_name}" if os.geteuid() == 0 else "; no change of user",
            "NGINX_REUSEPORT": "reuseport" if self.workers > 1 else "",
        }

    def start(self, own_session=True):
        # A session of its own is a scheduling group of its own (kernel.sched_autogroup), the same for all of them.
        self.log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.directory,
                                        preexec_fn=run_on(self.cpus), start_new_session=own_session)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise StartError(f"{self.name} did not start: " + (self.directory / "log").read_text(errors="replace")[-600:]) from None
                time.sleep(0.01)
        time.sleep(0.1)  # roles that start after the listener
        if own_session:
            Ahead.put(self.process.pid)
        self._hold_to_cpus()
        return self

    def _hold_to_cpus(self):
        """hitch gives its workers CPUs of its own choice, counted from 0."""
        for pid in self.pids():
            for thread in os.listdir(f"/proc/{pid}/task"):
                if not os.sched_getaffinity(int(thread)) <= set(self.cpus):
                    os.sched_setaffinity(int(thread), self.cpus)

    def pids(self):
        return procs.tree(self.process.pid)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        if not self.process:
            return
        pids = self.pids() if self.alive() else []
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            for pid in pids:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            self.process.wait()
        self.log.close()
        self.process = None
        shutil.rmtree(self.directory / "state", ignore_errors=True)


def fill(text, words):
    for name, value in words.items():
        text = text.replace(f"@{name}@", str(value))
    return text
