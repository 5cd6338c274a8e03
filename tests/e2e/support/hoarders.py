"""Clients that make the proxy hold bytes: each a way to use up `buffer_memory`, which must not hurt other clients."""
import contextlib
import selectors
import socket
import ssl
import struct

from . import clients

FLOOD, STALL = b"F", b"S"  # the first byte is the command to the backend; anything else is echoed
RECORD = 16384
POUR_MAX = 16 << 20
CHUNK = b"f" * 65536


class Hoarder:
    """A TLS client whose records can be written in parts; without SERVER_NAME (passthrough) bytes go as they are."""

    def __init__(self, port, source=None, version=None, tls=True, receive_buffer=None):
        self.socket = clients.tcp(port, source=source, receive_buffer=receive_buffer)
        self.tls = None
        if not tls:
            return
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = clients.context(version=version).wrap_bio(self.into, self.out, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.socket.sendall(self.out.read())
                self.into.write(self.socket.recv(65536))
        self.socket.sendall(self.out.read())

    def seal(self, data):
        if not self.tls:
            return data
        self.tls.write(data)
        return self.out.read()

    def send(self, data):
        self.socket.sendall(self.seal(data))

    def pour(self):
        """As much as is taken: what both kernels and the proxy hold."""
        self.socket.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            for _ in range(POUR_MAX // RECORD):
                self.socket.sendall(self.seal(b"u" * RECORD))

    def close(self):
        """By a reset: the kernel tries for up to 100 s to deliver what nobody reads."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def lacks_a_byte(port, **options):
    """All but the last byte of a record."""
    c = Hoarder(port, **options)
    c.socket.sendall(c.seal(b"x" * RECORD)[:-1])
    return c


def header_only(port, **options):
    c = Hoarder(port, **options)
    c.socket.sendall(c.seal(b"x" * RECORD)[:5])
    return c


def does_not_read(port, **options):
    """Asks for more than it will ever read."""
    c = Hoarder(port, **options)
    c.send(FLOOD)
    return c


def is_not_read(port, **options):
    """Sends more than the backend will ever read."""
    c = Hoarder(port, **options)
    c.send(STALL)
    c.pour()
    return c


def neither(port, **options):
    """Both at once: the backend floods and does not read."""
    c = Hoarder(port, **options)
    c.send(FLOOD + STALL)
    c.pour()
    return c


ATTACKS = [lacks_a_byte, header_only, does_not_read, is_not_read, neither]


def serve(listener):
    """The backend of all of them, in one thread: floods, stalls or echoes."""
    listener.setblocking(False)
    s = selectors.DefaultSelector()
    s.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in s.select():
            if key.fileobj is listener:
                try:
                    s.register(listener.accept()[0], selectors.EVENT_READ, "new")
                except OSError:
                    pass
                continue
            step(s, key.fileobj, key.data)


def step(s, c, what):
    try:
        if what == "flood":
            c.setblocking(False)
            while True:
                c.send(CHUNK)
        data = c.recv(65536)
        if not data:
            raise ConnectionResetError
        if what == "new" and data[:1] == FLOOD:
            s.modify(c, selectors.EVENT_WRITE, "flood")
        elif what == "new" and data[:1] == STALL:
            s.unregister(c)
            STALLED.append(c)
        else:
            s.modify(c, selectors.EVENT_READ, "echo")
            c.sendall(data)
    except BlockingIOError:
        pass
    except OSError:
        s.unregister(c)
        c.close()


STALLED = []


def handler(c):
    """The same for one connection, in a thread of a test's backend."""
    data = c.recv(65536)
    if data[:1] == FLOOD:
        while True:
            c.sendall(CHUNK)
    if data[:1] == STALL:
        c.settimeout(None)
        select_hang_up(c)
        return
    while data:
        c.sendall(data)
        data = c.recv(65536)


def select_hang_up(c):
    """Until the other side has closed."""
    import select
    p = select.poll()
    p.register(c, 0)
    p.poll()
