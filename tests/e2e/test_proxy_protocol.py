"""The PROXY protocol: what a backend receives, and what is accepted from a load balancer in front."""
import ipaddress
import struct

import pytest

from support import clients, processes, proxy_header
from support.clients import V12, V13, context, receive_all, tcp, until_closed
from support.waiting import until

TRUSTED = {"accept": "required", "trust": ["127.0.0.0/8"]}


class HeaderRecorder:
    """A backend that keeps each header it reads, and then echoes."""

    def __init__(self, read):
        self.read, self.headers = read, []

    def __call__(self, c):
        self.headers.append(self.read(c))
        while True:
            data = c.recv(65536)
            if not data:
                return
            c.sendall(data)

    def first(self):
        return until(lambda: self.headers, "a PROXY header")[0]


def through(port, ctx=None, before=b"", name="localhost", data=b"after the header"):
    """A session with BEFORE in front of TLS; returns the client's own address."""
    s = tcp(port)
    own = s.getsockname()
    s.sendall(before)
    with (ctx or context()).wrap_socket(s, server_hostname=name, suppress_ragged_eofs=False) as c:
        clients.says_echo(c, data)
        c.unwrap().close()
    return own


# --- sent


def test_v1_is_sent(parts):
    recorder = HeaderRecorder(proxy_header.read_v1)
    p = parts.proxy(parts.backend(recorder), proxy_protocol={"send": "v1"})
    own = through(p.port)
    assert recorder.first() == ["PROXY", "TCP4", "127.0.0.1", "127.0.0.1", str(own[1]), str(p.port)]


def test_v1_is_sent_for_ipv6(parts):
    recorder = HeaderRecorder(proxy_header.read_v1)
    p = parts.proxy(parts.backend(recorder), listen=["[::1]:0"], proxy_protocol={"send": "v1"})
    port = int(p.wait_text(r"listening on \[::1\]:(\d+) for web").group(1))
    with clients.connect(port, host="::1") as c:
        own = c.getsockname()
        clients.says_echo(c)
    assert recorder.first() == ["PROXY", "TCP6", "::1", "::1", str(own[1]), str(port)]


@pytest.mark.parametrize("version,says", [(V12, b"TLSv1.2"), (V13, b"TLSv1.3")])
def test_v2_with_all_tlvs(parts, version, says):
    recorder = HeaderRecorder(proxy_header.read_v2)
    p = parts.proxy(parts.backend(recorder), alpn=["http/1.1"], proxy_protocol={"send": "v2"})
    ctx = context(version=version, alpn=["http/1.1"])
    own = through(p.port, ctx)
    h = recorder.first()
    assert (h["command"], h["family"]) == (1, 0x11)
    assert h["source"] == own and h["destination"] == ("127.0.0.1", p.port)
    assert h["tlvs"][proxy_header.ALPN] == b"http/1.1"
    assert h["tlvs"][proxy_header.AUTHORITY] == b"localhost"
    assert proxy_header.CRC32C in h["tlvs"]
    assert len(h["tlvs"][proxy_header.UNIQUE_ID]) in range(16, 129)
    assert h["ssl"]["client"] == 1  # TLS, and no client certificate
    assert h["ssl"]["verify"] != 0
    assert h["ssl"]["tlvs"][proxy_header.SSL_VERSION] == says
    assert h["ssl"]["tlvs"][proxy_header.SSL_CIPHER]
    assert h["ssl"]["tlvs"][proxy_header.SSL_SIG_ALG] == b"ecdsa-with-SHA256"
    assert h["ssl"]["tlvs"][proxy_header.SSL_KEY_ALG] == b"EC256"
    assert h["ssl"]["tlvs"][proxy_header.SSL_GROUP] in (b"x25519", b"X25519MLKEM768")
    assert h["ssl"]["tlvs"][proxy_header.SSL_SIG_SCHEME] == b"ecdsa_secp256r1_sha256"
    assert not {proxy_header.SSL_CN, proxy_header.SSL_CLIENT_CERT} & set(h["ssl"]["tlvs"])


def test_unique_id_is_the_one_of_the_log(parts):
    recorder = HeaderRecorder(proxy_header.read_v2)
    p = parts.proxy(parts.backend(recorder), proxy_protocol={"send": "v2"})
    for _ in range(3):
        through(p.port)
    ids = {h["tlvs"][proxy_header.UNIQUE_ID] for h in recorder.headers}
    assert len(ids) == 3
    p.wait_session(count=3)
    logged = {e["unique_id"].replace("-", "").lower() for e in p.events("session")}
    assert logged == {i.hex() if len(i) == 16 else i.decode().replace("-", "").lower() for i in ids}


def test_v2_without_alpn_and_name(parts):
    recorder = HeaderRecorder(proxy_header.read_v2)
    p = parts.proxy(parts.backend(recorder), proxy_protocol={"send": "v2"})
    through(p.port, name=None)
    assert proxy_header.ALPN not in recorder.first()["tlvs"]
    assert proxy_header.AUTHORITY not in recorder.first()["tlvs"]


@pytest.mark.parametrize("names,kinds", [([], set()), (["alpn"], {proxy_header.ALPN}), (["crc32c"], {proxy_header.CRC32C}),
                                         (["ssl", "unique-id"], {proxy_header.SSL, proxy_header.UNIQUE_ID})])
def test_v2_with_chosen_tlvs(parts, names, kinds):
    recorder = HeaderRecorder(proxy_header.read_v2)
    p = parts.proxy(parts.backend(recorder), alpn=["http/1.1"], proxy_protocol={"send": "v2", "tlvs": names})
    through(p.port, context(alpn=["http/1.1"]))
    assert set(recorder.first()["tlvs"]) == kinds


def test_header_comes_even_when_the_client_says_nothing(parts):
    recorder = HeaderRecorder(proxy_header.read_v2)
    p = parts.proxy(parts.backend(recorder), proxy_protocol={"send": "v2"})
    with clients.connect(p.port) as c:
        recorder.first()
        c.unwrap()


def test_passthrough_sends_a_header_too(parts, pki):
    recorder = HeaderRecorder(proxy_header.read_v2)

    def swallow(c):
        recorder.headers.append(proxy_header.read_v2(c))
        c.recv(65536)

    service = parts.service(parts.backend(swallow), mode="passthrough", proxy_protocol={"send": "v2"})
    del service["certificates"]
    p = parts.proxy(services={"web": service})
    s = tcp(p.port)
    s.sendall(clients.hello_bytes(context()))
    own = s.getsockname()
    assert recorder.first()["source"] == own
    until_closed(s)
    s.close()


# --- accepted

CLIENT, SERVER = ("192.0.2.7", 4711), ("192.0.2.8", 443)
CLIENT6, SERVER6 = ("2001:db8::7", 4711), ("2001:db8::8", 443)


@pytest.mark.parametrize("make", [proxy_header.v1, proxy_header.v2, lambda a, b: proxy_header.v2(a, b, with_crc=True),
                                  lambda a, b: proxy_header.v2(a, b, extra=b"\xe0\0\x05hello")], ids=["v1", "v2", "v2-crc", "v2-tlv"])
@pytest.mark.parametrize("a,b", [(CLIENT, SERVER), (CLIENT6, SERVER6)], ids=["ipv4", "ipv6"])
def test_header_of_a_trusted_sender(parts, make, a, b):
    recorder = HeaderRecorder(proxy_header.read_v2)
    p = parts.proxy(parts.backend(recorder), proxy_protocol={**TRUSTED, "send": "v2"})
    through(p.port, before=make(a, b))
    assert recorder.first()["source"] == a and recorder.first()["destination"] == b
    text = f"[{a[0]}]:{a[1]}" if ":" in a[0] else f"{a[0]}:{a[1]}"
    assert p.wait_session()["client"] == text


@pytest.mark.parametrize("protocol,a,b", [("TCP6", CLIENT6, SERVER), ("TCP4", CLIENT, SERVER6), ("TCP6", CLIENT, SERVER6)])
def test_header_with_mixed_families(parts, protocol, a, b):
    """As nginx' stream module writes it when it has learned the client from a header of its own."""
    recorder = HeaderRecorder(proxy_header.read_v2)
    p = parts.proxy(parts.backend(recorder), proxy_protocol={**TRUSTED, "send": "v2"})
    through(p.port, before=f"PROXY {protocol} {a[0]} {b[0]} {a[1]} {b[1]}\r\n".encode())
    mapped = [end if ":" in end[0] else (str(ipaddress.ip_address(f"::ffff:{end[0]}")), end[1]) for end in (a, b)]
    assert [recorder.first()["source"], recorder.headers[0]["destination"]] == mapped
    text = f"[{a[0]}]:{a[1]}" if ":" in a[0] else f"{a[0]}:{a[1]}"
    assert p.wait_session()["client"] == text


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", proxy_header.v2(command=0)],
                         ids=["v1-unknown", "v1-unknown-more", "v2-local"])
def test_local_and_unknown_mean_the_connection_itself(parts, header):
    p = parts.proxy(parts.backend(), proxy_protocol=TRUSTED)
    own = through(p.port, before=header)
    assert p.wait_session()["client"] == f"127.0.0.1:{own[1]}"


def test_header_in_pieces(parts):
    p = parts.proxy(parts.backend(), proxy_protocol=TRUSTED)
    s = tcp(p.port)
    s.setsockopt(6, 1, 1)  # TCP_NODELAY
    whole = proxy_header.v2(CLIENT, SERVER) + clients.hello_bytes(context())
    for byte in whole:
        s.send(bytes([byte]))
    assert clients.receive(s, 5)[0] == 22
    s.close()


def refused(p, data, reason):
    s = tcp(p.port)
    try:
        s.sendall(data)
        got, _ = until_closed(s)
    except (ConnectionResetError, BrokenPipeError):
        got = b""
    s.close()
    assert got == b""
    return p.wait_failure(reason)


def test_untrusted_sender(parts):
    p = parts.proxy(parts.backend(), proxy_protocol={"accept": "required", "trust": ["10.0.0.0/8"]})
    refused(p, proxy_header.v1(CLIENT, SERVER) + clients.hello_bytes(context()), "proxy_untrusted")


def test_strangers_are_closed_at_once(parts):
    """Their identity is known before they send anything: no memory, no timeout and no limit is needed."""
    p = parts.proxy(parts.backend(), proxy_protocol={"accept": "required", "trust": ["127.0.0.7/32"]}, timeouts={"handshake": "none"})
    (handshaker,) = p.roles()["handshaker"]
    base = processes.descriptors(handshaker)
    silent = [tcp(p.port, source="127.0.0.8") for _ in range(100)]
    for s in silent:
        until_closed(s)
    assert processes.descriptors(handshaker) == base
    e = p.wait_failure("proxy_untrusted")
    assert e["client"].startswith("127.0.0.8:")
    with tcp(p.port, source="127.0.0.7") as s:
        s.sendall(proxy_header.v1(CLIENT, SERVER) + clients.hello_bytes(context()))
        assert clients.receive(s, 1) == b"\x16"
    for s in silent:
        s.close()


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", proxy_header.v2(command=0)], ids=["unknown", "local"])
def test_a_load_balancer_is_no_client(parts, header):
    """Its own connections are health checks; neither they nor those before their header count for a client."""
    p = parts.proxy(parts.backend(), proxy_protocol=TRUSTED, limits={"sessions_per_client": 1, "handshakes_per_client_per_second": 1},
                    timeouts={"handshake": "60s"})
    waiting = [tcp(p.port) for _ in range(5)]
    held = []
    for _ in range(5):
        s = tcp(p.port)
        s.sendall(header)
        held.append(context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False))
        clients.says_echo(held[-1])
    through(p.port, before=proxy_header.v1(CLIENT, SERVER))
    assert not p.events("failed")
    for s in waiting + held:
        s.close()


@pytest.mark.parametrize("make", [proxy_header.v1, proxy_header.v2], ids=["v1", "v2"])
def test_an_ipv4_address_in_ipv6_is_the_same_client(parts, make):
    """However a load balancer writes it, a client has its limit once."""
    p = parts.proxy(parts.backend(), proxy_protocol=TRUSTED, limits={"sessions_per_client": 2})
    plain, mapped = make(CLIENT, SERVER), make(("::ffff:192.0.2.7", 4712), ("::ffff:192.0.2.8", 443))
    held = []
    for header in (plain, mapped):
        s = tcp(p.port)
        s.sendall(header)
        held.append(context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False))
        clients.says_echo(held[-1])
    for n, header in enumerate((plain, mapped), 1):
        with tcp(p.port) as s:
            s.sendall(header)
            until_closed(s)
        assert p.wait_failure("client_sessions", count=n)["client"].startswith(CLIENT[0])
    for c in held:
        c.close()


def test_header_missing(parts):
    p = parts.proxy(parts.backend(), proxy_protocol=TRUSTED)
    refused(p, clients.hello_bytes(context()), "proxy_missing")


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", b"PROXY TCP4 192.0.2.300 192.0.2.2 1 2\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
    b"PROXY TCP5 a b 1 2\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2" + b" " * 100, proxy_header.v2(CLIENT, SERVER, command=2),
    proxy_header.v2(CLIENT, SERVER, with_crc=True)[:-1] + b"\0", proxy_header.SIGNATURE + struct.pack("!BBH", 0x31, 0x11, 12) + bytes(12),
    proxy_header.SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 4) + bytes(4), proxy_header.SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 65535) + bytes(3000)])
def test_malformed_header(parts, header):
    p = parts.proxy(parts.backend(), proxy_protocol=TRUSTED)
    refused(p, header + clients.hello_bytes(context()), "proxy_malformed")


def test_silence_instead_of_a_header(parts):
    p = parts.proxy(parts.backend(), proxy_protocol=TRUSTED, timeouts={"handshake": "300ms"})
    s = tcp(p.port)
    until_closed(s)
    s.close()
    p.wait_failure("handshake_timeout")


def test_limits_know_the_client_of_the_header(parts):
    """Two clients behind one balancer are two."""
    p = parts.proxy(parts.backend(), proxy_protocol=TRUSTED, limits={"sessions_per_client": 1})

    def open_as(address):
        s = tcp(p.port)
        s.sendall(proxy_header.v1((address, 1), SERVER))
        return context().wrap_socket(s, server_hostname="localhost")

    with open_as("192.0.2.1") as one, open_as("192.0.2.2") as two:
        clients.says_echo(one)
        clients.says_echo(two)
        with pytest.raises(OSError):
            clients.says_echo(open_as("192.0.2.1"))
        p.wait_failure("client_sessions")


def test_end_of_the_answer_is_the_end(parts):
    p = parts.proxy(parts.backend(lambda c: c.sendall(b"bye")), proxy_protocol=TRUSTED)
    s = tcp(p.port)
    s.sendall(proxy_header.v1(CLIENT, SERVER))
    with context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
        assert receive_all(c) == b"bye"
