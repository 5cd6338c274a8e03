"""The admin sockets as clients see them: HTTP over the Unix socket, or over the loopback address."""
import http.client
import json
import re
import socket

from .waiting import DEADLINE


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)  # waits while the queue is full, which a socket with a timeout does not
        self.sock.settimeout(self.timeout)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Admin:
    """The admin resources of a running Proxy whose configuration has an admin socket (it always has)."""

    def __init__(self, proxy):
        self.proxy = proxy

    def ask(self, path, method="GET", tcp=False, headers=None, body=None):
        connection = http.client.HTTPConnection(*self.address, timeout=DEADLINE) if tcp else UnixConnection(self.proxy.admin_socket)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def json(self, path):
        answer = self.ask(path)
        assert answer.status == 200, (path, answer.status, answer.text)
        return answer.json

    @property
    def address(self):
        m = self.proxy.wait_text(r"admin address, read only: http://([0-9.]+):(\d+)/")
        return m.group(1), int(m.group(2))

    def connect(self, tcp=False):
        """A bare socket, for requests no client would make."""
        if tcp:
            return socket.create_connection(self.address, timeout=DEADLINE)
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(self.proxy.admin_socket))
        s.settimeout(DEADLINE)
        return s

    def raw(self, request, tcp=False):
        """All bytes of the answer to these bytes, up to the end of the connection."""
        with self.connect(tcp) as s:
            try:
                s.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_all(s)


def read_all(s):
    parts = []
    try:
        while part := s.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def status_of(answer):
    """The status of a raw answer; None when there was none."""
    m = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(m.group(1)) if m else None
