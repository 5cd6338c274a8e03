"""Applications behind the proxy: scriptable servers on Unix sockets and TCP, each in threads of this process."""
import hashlib
import http.server
import os
import selectors
import socket
import struct
import subprocess
import tempfile
import threading

from . import processes
from .waiting import DEADLINE, until


def unix_listener(path, backlog=128):
    s = socket.socket(socket.AF_UNIX)
    s.bind("\0" + path[1:] if path.startswith("@") else path)
    s.listen(backlog)
    return s


def tcp_listener(host="127.0.0.1", backlog=128):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, 0))
    s.listen(backlog)
    return s


class Backend:
    """Accepts, and runs HANDLER(connection) in a thread for each; counts and keeps faults of handlers."""

    def __init__(self, listener, handler, accepting=True):
        self.listener = listener
        self.handler = handler
        self.accepted = 0
        self.faults = []
        self.connections = []
        self.lock = threading.Lock()
        self.ended = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        if accepting:
            self.thread.start()

    @property
    def url(self):
        name = self.listener.getsockname()
        if self.listener.family == socket.AF_UNIX:
            return "unix:" + (name if isinstance(name, str) else "@" + name[1:].decode())
        return f"tcp:[{name[0]}]:{name[1]}" if self.listener.family == socket.AF_INET6 else f"tcp:{name[0]}:{name[1]}"

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def start_accepting(self):
        self.thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.accepted += 1
                self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.handler(connection)
        except (BrokenPipeError, ConnectionResetError):
            pass  # clients of these tests leave as they like
        except Exception as e:  # a test looks at them
            if not self.ended:
                self.faults.append(e)
        finally:
            connection.close()

    def hang_up(self):
        with self.lock:
            for c in self.connections:
                try:
                    c.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.ended = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        name = self.listener.getsockname()
        self.listener.close()
        self.hang_up()
        if isinstance(name, str) and name and os.path.exists(name):
            os.unlink(name)


# --- handlers


def echo(c):
    while True:
        data = c.recv(262144)
        if not data:
            return
        c.sendall(data)


def sink(c):
    while c.recv(262144):
        pass


def answer_after_eof(c):
    """Reads all until the end, then sends its length and SHA-256, and closes."""
    h, n = hashlib.sha256(), 0
    while True:
        data = c.recv(262144)
        if not data:
            break
        h.update(data)
        n += len(data)
    c.sendall(f"{n} {h.hexdigest()}\n".encode())


def reset(c):
    """Ends a TCP connection by a reset."""
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


class HttpEcho(http.server.BaseHTTPRequestHandler):
    """POST: the body comes back. GET: /N gives N bytes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body)

    do_PUT = do_POST

    def do_GET(self):
        try:
            n = int(self.path.rstrip("/").rsplit("/", 1)[-1])
        except ValueError:
            n = 10
        self._answer(b"x" * n)

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def address_string(self):
        return "client"


def http_echo(c):
    HttpEcho(c, ("client", 0), None)


class ManyEcho:
    """An echo server for thousands of connections, in one thread."""

    def __init__(self, listener):
        self.listener = listener
        self.listener.setblocking(False)
        self.accepted = 0
        self.selector = selectors.DefaultSelector()
        self.wake_read, self.wake_write = os.pipe()
        self.selector.register(self.wake_read, selectors.EVENT_READ)
        self.selector.register(listener, selectors.EVENT_READ)
        self.open = set()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    url = Backend.url

    def _run(self):
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == self.wake_read:
                    return
                if key.fileobj is self.listener:
                    self._accept()
                else:
                    self._echo(key.fileobj)

    def _accept(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.open.add(c)
            self.selector.register(c, selectors.EVENT_READ)

    def _echo(self, c):
        try:
            data = c.recv(65536)
            if data:
                c.sendall(data)
                return
        except OSError:
            pass
        self.selector.unregister(c)
        self.open.discard(c)
        c.close()

    def close(self):
        os.write(self.wake_write, b"x")
        self.thread.join(DEADLINE)
        name = self.listener.getsockname()
        for c in [*self.open, self.listener]:
            c.close()
        os.close(self.wake_read)
        os.close(self.wake_write)
        self.selector.close()
        if isinstance(name, str) and os.path.exists(name):
            os.unlink(name)


class Server:
    """A server program of its own; ended by close()."""

    def __init__(self, *arguments, **options):
        self.says = tempfile.TemporaryFile()  # of stderr, for a failure's message
        self.process = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=self.says, **options)

    def wait(self, condition, what):
        """As until(), while the server runs."""
        def answer():
            if self.process.poll() is None:
                return condition()
            self.says.seek(0)
            raise AssertionError(f"{self.process.args[0]} ended with {self.process.returncode}: {self.says.read()[-2000:].decode(errors='replace')}")

        return until(answer, f"{what} of {self.process.args[0]}")

    def wait_port(self):
        return self.wait(lambda: processes.listening_port(self.process.pid), "a listening port")

    def wait_socket(self, path):
        def answers():
            with socket.socket(socket.AF_UNIX) as s:
                return s.connect_ex(str(path)) == 0

        self.wait(answers, f"{path}")
        return path

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.says.close()
