"""Fixtures, and the guard that after every test nothing is left: no process, no socket file, no session without its end."""
import contextlib
import itertools
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from support import backends, processes  # noqa: E402
from support.acme_site import hook  # noqa: E402, F401 (a fixture)
from support.pki import Pki  # noqa: E402
from support.proxy import BINARY, SANITIZED, Proxy, configuration  # noqa: E402
from support.waiting import shortened, until  # noqa: E402

TEST_SECONDS = int(os.environ.get("E2E_TEST_SECONDS", "600"))

# Sessions whose log line may name a backend that never got them.
NOT_REACHED = ("backend_refused", "backend_timeout", "backend_backlog", "no_local_port", "out_of_descriptors")

processes.adopt_orphans()

# Some tests hold thousands of connections; a login has 1024 descriptors if it asks for no more.
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, 65536), FILES))


def pytest_sessionstart(session):
    if not os.access(BINARY, os.X_OK):
        pytest.exit(f"no tls-off at {BINARY}; make build first", returncode=1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """
    Tests of all files are mixed: most that take long are in a few files, and the process that got these would be the last to end by
    minutes. Those that share a proxy stay together, and come first.
    """
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    places = {}
    for path, tests in files.items():
        shared = any(d.scope == "module" for t in tests for ds in t._fixtureinfo.name2fixturedefs.values() for d in ds)
        for i, test in enumerate(tests):
            places[test] = (0 if shared else (i + 1) / len(tests), path, i)
    items.sort(key=places.get)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What root alone may look at is not looked at by others."""
    report = (yield).get_result()
    error = call.excinfo.value if call.excinfo else None
    if os.geteuid() != 0 and isinstance(error, PermissionError) and str(error.filename).startswith("/proc/"):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"needs root: {error.filename}")
    setattr(item, "report_" + report.when, report)


@pytest.fixture(autouse=True)
def deadline():
    """No test runs forever."""

    def too_late(*_):
        raise TimeoutError(f"the test took more than {TEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, TEST_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def pki():
    directory = tempfile.mkdtemp(prefix="tls-off-pki.")
    yield Pki(directory)
    shutil.rmtree(directory)


@pytest.fixture
def directory():
    """A short path: names of Unix sockets may have 107 bytes."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="tls-off."))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def guard(directory):
    before = set(processes.descendants(os.getpid()))
    yield

    def left():
        return [p for p in processes.descendants(os.getpid()) if p not in before]

    try:
        until(lambda: not left(), "end of processes", deadline=30)
    except AssertionError:
        names = {p: processes.command_line(p) for p in left()}
        for p in names:
            os.kill(p, signal.SIGKILL)
        raise AssertionError(f"processes left behind: {names}") from None
    finally:
        reap()
    sockets = [p for p in directory.rglob("*") if p.is_socket()]
    assert not sockets, f"socket files left behind: {sockets}"


def reap():
    """Orphans that became ours."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


class Parts:
    """What a test starts: backends and proxies. All end with it."""

    def __init__(self, directory, pki):
        self.directory, self.pki = directory, pki
        self.proxies, self.backends = [], []
        self.number = itertools.count(1)

    def socket_path(self):
        return str(self.directory / f"app{next(self.number)}.sock")

    def backend(self, handler=backends.echo, where=None, backlog=128, **options):
        """A scriptable server; WHERE: None = a Unix socket, "@name", "tcp" or an address."""
        if where is None:
            listener = backends.unix_listener(self.socket_path(), backlog)
        elif where.startswith("@"):
            listener = backends.unix_listener(where, backlog)
        else:
            listener = backends.tcp_listener("127.0.0.1" if where == "tcp" else where, backlog)
        return self.add(backends.Backend(listener, handler, **options))

    def add(self, server):
        self.backends.append(server)
        return server

    @contextlib.contextmanager
    def disk(self, size):
        """A file system of its own; as root."""
        path = self.directory / "disk"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(path)], check=True)
        try:
            yield path
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)

    def server(self, *arguments, **options):
        return self.add(backends.Server(*arguments, **options))

    def service(self, backend, **keys):
        """A service's table with what it must have."""
        urls = [b if isinstance(b, str) else b.url for b in (backend if isinstance(backend, list) else [backend])]
        return {"listen": ["127.0.0.1:0"], "backends": urls, "certificates": [self.pki.ecdsa, self.pki.rsa], **keys}

    def prepare(self, backend=None, services=None, log=None, top=None, **keys):
        """A proxy not yet started, with one service "web" in front of BACKEND, or with SERVICES."""
        options = {k: keys.pop(k) for k in ("limits_of_process", "environment") if k in keys}
        if services is None:
            services = {"web": self.service(backend, **keys)}
        where = self.directory / f"proxy{next(self.number)}"
        where.mkdir()
        p = Proxy(where, configuration(where, services, log, **(top or {})), limits=options.get("limits_of_process"),
                  environment=options.get("environment"))
        self.proxies.append(p)
        return p

    def proxy(self, backend=None, **keys):
        return self.prepare(backend, **keys).start()

    def end(self, failed):
        try:
            for p in self.proxies:
                if failed:
                    p.kill()
                    p.check_faults()
                else:
                    p.stop()
            if not failed:
                self._check_backends()
        finally:
            for p in self.proxies:
                p.kill()
            for b in self.backends:
                b.close()

    def _check_backends(self):
        for b in self.backends:
            for e in getattr(b, "faults", []):
                raise AssertionError(f"fault in a backend of the test: {e!r}") from e
        if len(self.proxies) == 1 and not (self.proxies[0].allow_killed_roles or self.proxies[0].allow_lost_lines):
            self._check_sessions(self.proxies[0])

    def _check_sessions(self, p):
        """Every connection that a backend got is one session of the log."""
        if not p.lines or not any(line.startswith("{") for line in p.lines):
            return
        for b in self.backends:
            if hasattr(b, "accepted"):
                logged = len([e for e in p.events("session", backend=b.url) if e.get("reason") not in NOT_REACHED])
                until(lambda b=b, n=logged: b.accepted == n,  # its thread may be late
                      lambda b=b, n=logged: f"{b.url}: {b.accepted} connections, {n} sessions in the log:\n{p.text()}")


@pytest.fixture
def parts(directory, pki, guard, request):
    p = Parts(directory, pki)
    yield p
    report = getattr(request.node, "report_call", None)
    failed = report is None or report.failed
    if failed:
        for proxy in p.proxies:
            print(f"--- log of {proxy.config_file}\n{shortened(proxy.text())}")
    p.end(failed)
