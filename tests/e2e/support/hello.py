"""ClientHello messages made field by field, right or wrong, and their records."""
import os
import struct

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SERVER_NAME, GROUPS, SIGALGS, ALPN, EARLY_DATA, PSK, VERSIONS, COOKIE, PSK_MODES, SHARES = 0, 10, 13, 16, 42, 41, 43, 44, 45, 51
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


def message(extensions, legacy_version=0x0303, session_id=b"", suites=None, compression=b"\0"):
    """EXTENSIONS: a dictionary, or pairs when one comes twice; None = no block at all."""
    if isinstance(extensions, dict):
        extensions = extensions.items()
    body = struct.pack("!H", legacy_version) + os.urandom(32) + vec8(session_id)
    body += vec16(u16s(suites or SUITES13 + SUITES12)) + vec8(compression)
    if extensions is not None:
        body += vec16(b"".join(struct.pack("!H", kind) + vec16(data) for kind, data in extensions))
    return b"\x01" + struct.pack("!I", len(body))[1:] + body


def records(data, size=16384, kind=22, version=0x0301):
    """DATA cut into records of SIZE."""
    return b"".join(struct.pack("!BHH", kind, version, len(data[i:i + size])) + data[i:i + size]
                    for i in range(0, len(data), size)) if data else struct.pack("!BHH", kind, version, 0)
