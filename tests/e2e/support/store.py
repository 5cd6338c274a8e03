"""The store of a fleet: a Redis server of a test's own, behind a Unix socket, with the file that seals private keys."""
import os
import signal
import socket

from .waiting import DEADLINE, until


class Store:
    def __init__(self, parts, *options):
        self.parts, self.options = parts, options
        self.directory = parts.directory / f"store{next(parts.number)}"
        self.directory.mkdir()
        self.socket = self.directory / "redis.sock"
        self.key_file = self.directory / "storage.key"
        self.key_file.write_bytes(os.urandom(32))
        self.key_file.chmod(0o600)
        self.start()

    def start(self, *options):
        self.server = self.parts.server("redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no",
                                        "--dir", self.directory, *self.options, *options)
        self.server.wait_socket(self.socket)

    def stop(self):
        self.server.close()

    def kill(self):
        """Nothing is written any more."""
        os.kill(self.server.process.pid, signal.SIGKILL)
        self.server.close()

    def copy(self):
        """All data as it is now: for back_to()."""
        assert self.do("SAVE") == "OK"
        data = (self.directory / "dump.rdb").read_bytes()
        (self.directory / "dump.rdb").unlink()
        return data

    def back_to(self, data):
        self.kill()
        (self.directory / "dump.rdb").write_bytes(data)
        self.start()

    def hang(self):
        os.kill(self.server.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.server.process.pid, signal.SIGCONT)

    @property
    def section(self):
        """What [acme] says about it."""
        return {"state": f"redis:unix:{self.socket}", "storage_key_file": str(self.key_file)}

    def do(self, *words):
        """One command; its answer as Python has it. An error is a string that begins with "-"."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            s.connect(str(self.socket))
            parts = [w if isinstance(w, bytes) else str(w).encode() for w in words]
            s.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            with s.makefile("rb") as f:
                return read_answer(f)

    def kill_clients(self, password):
        """All connections but ours."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            s.connect(str(self.socket))
            s.sendall(f"AUTH {password}\r\nCLIENT KILL TYPE normal SKIPME yes\r\n".encode())
            with s.makefile("rb") as f:
                assert read_answer(f) == "OK" and read_answer(f) >= 1

    def keys(self, pattern="*"):
        return sorted(k.decode() for k in self.do("KEYS", pattern))

    def wait_keys(self, pattern, n=1):
        def there():
            found = self.keys(pattern)
            return (found,) if len(found) == n else None

        return until(there, lambda: f"{n} of {pattern}: {self.keys()}")[0]


def read_answer(f):
    line = f.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"*":
        return [read_answer(f) for _ in range(int(rest))]
    if kind == b"$":
        return None if int(rest) < 0 else f.read(int(rest) + 2)[:-2]
    return int(rest) if kind == b":" else (line[:-2] if kind == b"-" else rest).decode()
