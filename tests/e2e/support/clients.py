"""TLS clients: Python's ssl, openssl s_client driven interactively, and ClientHello bytes to send by hand."""
import collections
import contextlib
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

from .waiting import DEADLINE, TooLate

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def context(pki=None, version=None, alpn=None, ciphers=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # else a missing close_notify looks like one
    if pki is None:
        c.check_hostname = False
        c.verify_mode = ssl.CERT_NONE
    else:
        c.load_verify_locations(pki.ca)
    if version is not None:
        if version < V12:
            c.set_ciphers("ALL:@SECLEVEL=0")
        c.minimum_version = c.maximum_version = version
    if alpn:
        c.set_alpn_protocols(alpn)
    if ciphers:
        c.set_ciphers(ciphers)
    return c


_kept = collections.deque(maxlen=100)  # the oldest is closed when another comes


def free_port():
    """
    A port for a server that starts later and sets SO_REUSEADDR. It stays bound here, without listening: the kernel gives it to nobody who
    asks for any, also while the server is down.
    """
    s = socket.socket(socket.AF_INET6 if os.path.exists("/proc/net/if_inet6") else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if s.family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("", 0))
    _kept.append(s)
    return s.getsockname()[1]


def tcp(port, host="127.0.0.1", source=None, receive_buffer=None):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.settimeout(DEADLINE)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        s.bind(source if isinstance(source, tuple) else (source, 0))
    s.connect((host, port))
    return s


def connect(port, ctx=None, name="localhost", session=None, **options):
    """A TLS connection. Ends of TCP without close_notify are errors, so that no test takes one for the other."""
    s = tcp(port, **options)
    try:
        return (ctx or context()).wrap_socket(s, server_hostname=name, session=session, suppress_ragged_eofs=False)
    except BaseException:
        s.close()
        raise


def receive(c, n):
    data = bytearray()
    while len(data) < n:
        piece = c.recv(min(n - len(data), 1 << 20))
        if not piece:
            raise AssertionError(f"ended after {len(data)} of {n} bytes")
        data += piece
    return bytes(data)


def receive_all(c):
    data = bytearray()
    while True:
        piece = c.recv(1 << 18)
        if not piece:
            return bytes(data)
        data += piece


def says_echo(c, data=b"hello, world"):
    """Sends DATA and waits for the same."""
    c.sendall(data)
    got = receive(c, len(data))
    assert got == data
    return got


def lives(c, seconds=None):
    """Whether a session echoes. A dead one must show its end, and nothing in between."""
    if seconds:
        c.settimeout(seconds)
    try:
        says_echo(c, b"are you there?")
        return True
    except (OSError, AssertionError):
        forget_errors()
        return False


def forget_errors():
    """Python 3.13 leaves a connection's system error in OpenSSL's queue of this thread, and takes it for the next connection's; of
    all calls this one empties the queue."""
    with contextlib.suppress(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers("no such cipher")


def reset(c):
    """Ends the TCP connection by a reset."""
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def until_closed(s, deadline=DEADLINE):
    """All bytes until the other side ends the connection; a reset is an end too. (bytes, was it a reset)"""
    s.settimeout(deadline)
    data = bytearray()
    while True:
        try:
            piece = s.recv(65536)
        except ConnectionResetError:
            return bytes(data), True
        if not piece:
            return bytes(data), False
        data += piece


def hello_bytes(ctx, name="localhost"):
    """The ClientHello record(s) that this context would send."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = ctx.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        o.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def alert_of(data):
    """(level, description) of the plain alert record at the end of what a server sent, or None."""
    while len(data) >= 5:
        length = struct.unpack("!H", data[3:5])[0]
        if data[0] == 21 and length == 2 and len(data) == 7:
            return data[5], data[6]
        data = data[5 + length:]
    return None


def s_client(port, *arguments, deadline=DEADLINE):
    return SClient(port, *arguments, deadline=deadline)


class SClient:
    """openssl s_client: send(), wait_for(), end()."""

    def __init__(self, port, *arguments, deadline=DEADLINE):
        self.deadline = deadline
        self.output = bytearray()
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.done = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            piece = os.read(self.process.stdout.fileno(), 65536)
            with self.changed:
                self.output += piece
                self.done = not piece
                self.changed.notify_all()
            if not piece:
                return

    def send(self, data):
        self.process.stdin.write(data if isinstance(data, bytes) else data.encode())
        self.process.stdin.flush()

    def wait_for(self, wanted, count=1):
        """Waits until WANTED was printed COUNT times."""
        wanted = wanted if isinstance(wanted, bytes) else wanted.encode()
        end = time.monotonic() + self.deadline
        with self.changed:
            while self.output.count(wanted) < count:
                left = end - time.monotonic()
                if self.done or left <= 0:
                    raise TooLate(f"openssl s_client did not say {wanted!r}:\n{self.output.decode(errors='replace')}")
                self.changed.wait(left)

    def end(self):
        """Closes its input, which makes it send close_notify and exit. Returns (status, output)."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            status = self.process.wait(self.deadline)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise TooLate("openssl s_client did not end") from None
        self.thread.join(self.deadline)
        self.process.stdout.close()
        return status, self.output.decode(errors="replace")


def run(*arguments, deadline=DEADLINE, data=None, check=True):
    """A client program that ends on its own; its output as text."""
    done = subprocess.run([str(a) for a in arguments], input=data, capture_output=True, timeout=deadline)
    text = done.stdout.decode(errors="replace")
    if check:
        assert done.returncode == 0, f"{arguments[0]} exit {done.returncode}: {text}{done.stderr.decode(errors='replace')}"
    return text
