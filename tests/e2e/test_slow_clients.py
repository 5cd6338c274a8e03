"""Clients that take their time to read what the handshake sends them."""
import pathlib
import socket
import ssl
import struct

from support import clients
from support.clients import receive
from support.waiting import DEADLINE


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = clients.context(version=clients.V13).wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        o.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def test_a_flight_that_does_not_fit_the_sockets_arrives_when_the_client_reads(parts):
    chain = pathlib.Path(parts.pki.ecdsa["cert"])
    long_chain = parts.directory / "long.pem"
    big = parts.pki.leaf("big", "p256", [f"name-{i}.of-a-certificate-with-many.example.org" for i in range(300)])
    long_chain.write_bytes(chain.read_bytes() + pathlib.Path(big["cert"]).read_bytes() * 12)
    p = parts.proxy(parts.backend(), certificates=[{"cert": str(long_chain), "key": parts.pki.ecdsa["key"]}])
    s = socket.socket()
    s.settimeout(DEADLINE)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 500)  # over loopback's own segments all would fit the proxy's socket
    s.connect(("127.0.0.1", p.port))
    s.sendall(client_hello())
    total = 0
    while True:  # records up to our Finished: the only short one behind the chain
        head = receive(s, 5)
        length = struct.unpack("!H", head[3:5])[0]
        receive(s, length)
        total += length
        if total > 100_000 and length < 60:
            break
    s.close()
    p.wait_failure("handshake_closed")
