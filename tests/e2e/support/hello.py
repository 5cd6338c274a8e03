"""ClientHello messages made field by field, right or wrong, and their records."""
import os
import struct

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SERVER_NAME, GROUPS, SIGALGS, ALPN, EARLY_DATA, PSK, VERSIONS, COOKIE, PSK_MODES, CERT_SIGALGS, SHARES = 0, 10, 13, 16, 42, 41, 43, 44, 45, 50, 51
X25519, P256, P384, P521 = 0x1D, 0x17, 0x18, 0x19
SUITES13 = [0x1301, 0x1302, 0x1303]
SUITES12 = [0xC02B, 0xC02F, 0xCCA9, 0xCCA8]


def vec8(data):
    return bytes([len(data)]) + data


def vec16(data):
    return struct.pack("!H", len(data)) + data


def u16s(numbers):
    return b"".join(struct.pack("!H", n) for n in numbers)


def share(group):
    """A key share that the server can use, of a key that is not kept."""
    if group == X25519:
        public = x25519.X25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        curve = {P256: ec.SECP256R1(), P384: ec.SECP384R1(), P521: ec.SECP521R1()}[group]
        public = ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return struct.pack("!H", group) + vec16(public)


def server_name(*names):
    """One host_name entry each, bytes or text."""
    entries = b"".join(b"\0" + vec16(n if isinstance(n, bytes) else n.encode()) for n in names)
    return SERVER_NAME, vec16(entries)


def usual(version13=True, name="localhost", groups=(X25519, P256), shares=None):
    """The extensions that a client of that version cannot do without, as a dictionary to be changed."""
    extensions = {
        GROUPS: vec16(u16s(groups)),
        SIGALGS: vec16(u16s([0x0403, 0x0804, 0x0401, 0x0805, 0x0503])),
    }
    if name is not None:
        extensions.update([server_name(name)])
    if version13:
        extensions[VERSIONS] = vec8(u16s([0x0304]))
        extensions[SHARES] = vec16(b"".join(share(g) for g in (groups[:1] if shares is None else shares)))
    return extensions


def message(extensions, legacy_version=0x0303, session_id=b"", suites=None, compression=b"\0", random=None):
    """EXTENSIONS: a dictionary, or pairs when one comes twice; None = no block at all."""
    if isinstance(extensions, dict):
        extensions = extensions.items()
    body = struct.pack("!H", legacy_version) + (random or os.urandom(32)) + vec8(session_id)
    body += vec16(u16s(suites or SUITES13 + SUITES12)) + vec8(compression)
    if extensions is not None:
        body += vec16(b"".join(struct.pack("!H", kind) + vec16(data) for kind, data in extensions))
    return b"\x01" + struct.pack("!I", len(body))[1:] + body


def records(data, size=16384, kind=22, version=0x0301):
    """DATA cut into records of SIZE."""
    return b"".join(struct.pack("!BHH", kind, version, len(data[i:i + size])) + data[i:i + size]
                    for i in range(0, len(data), size)) if data else struct.pack("!BHH", kind, version, 0)


def with_psk(identities, binders):
    return {PSK_MODES: b"\1\1", PSK: vec16(b"".join(vec16(i) + bytes(4) for i in identities)) + vec16(b"".join(map(vec8, binders)))}


def dear_hellos(ticket, own, version13):
    """What may be sent on our own path or libssl's, as much of it as is taken: (what, message, bytes a record)."""
    def with_(extensions, **fields):
        return message({**usual(version13), **extensions}, **fields)

    suites = 32000 if own else 4096
    size = 65535 - 400
    yield "131 KB", with_({1000: bytes(size)}, suites=SUITES13 + SUITES12 + [0x6000 + i % 200 for i in range(suites - 7)]), 16384
    yield "131 KB in records of 40 bytes", with_({1000: bytes(size)}, suites=SUITES13 + SUITES12 + [0x6000 + i % 200 for i in range(suites - 7)]), 40
    yield "16,000 extensions", with_({60000 - i: b"" for i in range(16000)}), 16384
    yield "32,000 schemes", with_({SIGALGS: vec16(u16s([0x0606 + i % 200 for i in range(31000)] + [0x0403, 0x0804]))}), 16384
    n = 32000 if own else 1024
    every = [0x0403, 0x0804, 0x0401, 0x0805, 0x0503, 0x0806, 0x0501, 0x0603, 0x0601, 0x0807]
    for what, last in (("that fit", [0x0403, 0x0401]), ("that do not", [0x0603, 0x0603])):
        schemes = vec16(u16s([0x9999] * (n - 2) + last))
        yield f"{n} schemes of certificates {what}", with_({SIGALGS: vec16(u16s(every)), CERT_SIGALGS: schemes}), 16384
    yield "32,000 groups", with_({GROUPS: vec16(u16s([0x2000 + i % 1000 for i in range(31000)] + [X25519, 0x17]))}), 16384
    yield "20,000 protocols", with_({ALPN: vec16(vec8(b"xy") * 20000 + vec8(b"h2"))}), 16384
    n = 10000 if own else 340
    yield "status_request", with_({5: b"\1" + vec16(vec16(b"\xa1\x02\x30\0") * n) + b"\0\0"}), 16384
    yield "certificate_authorities", with_({47: vec16(vec16(b"\x30\0") * (15000 if own else 4095))}), 16384
    if version13:
        shares = b"".join(struct.pack("!HHB", 0x2000 + i, 1, 0) for i in range(1000)) + share(X25519)
        yield "1,001 shares", with_({GROUPS: vec16(u16s([0x2000 + i for i in range(1000)] + [X25519])), SHARES: vec16(shares)}), 16384
        shares = b"".join(struct.pack("!HH", 0x2000 + i, 65) + bytes(65) for i in range(15)) + share(X25519)
        yield "16 shares", with_({GROUPS: vec16(u16s([0x2000 + i for i in range(15)] + [X25519])), SHARES: vec16(shares)}), 16384
        broken = ticket[:-1] + bytes([ticket[-1] ^ 1])
        yield "100 tickets", with_(with_psk([broken] * 100, [bytes(32)] * 100)), 16384
