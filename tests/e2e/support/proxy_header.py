"""The PROXY protocol as haproxy's proxy-protocol.txt describes it: reading what tls-off sends, making what it accepts."""
import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL = 0x01, 0x02, 0x03, 0x05, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER, SSL_SIG_ALG, SSL_KEY_ALG = 0x21, 0x22, 0x23, 0x24, 0x25
SSL_GROUP, SSL_SIG_SCHEME, SSL_CLIENT_CERT = 0x26, 0x27, 0x28
CLIENT = 0xE0  # of our own: the name that let the client in


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def exactly(c, n):
    data = b""
    while len(data) < n:
        piece = c.recv(n - len(data))
        if not piece:
            raise AssertionError(f"ended within the PROXY header: {data!r}")
        data += piece
    return data


def read_v1(c):
    line = b""
    while not line.endswith(b"\r\n"):
        assert len(line) < 107, line
        line += exactly(c, 1)
    return line[:-2].decode().split(" ")


def tlvs(data):
    found = {}
    while data:
        kind, n = struct.unpack("!BH", data[:3])
        assert len(data) >= 3 + n, "TLV longer than the header"
        assert kind not in found, f"TLV {kind} twice"
        found[kind] = data[3:3 + n]
        data = data[3 + n:]
    return found


def read_v2(c):
    """{command, family, source, destination, tlvs, ssl}; a wrong checksum is an error."""
    head = exactly(c, 16)
    assert head[:12] == SIGNATURE, head
    version, family, n = head[12], head[13], struct.unpack("!H", head[14:16])[0]
    assert version >> 4 == 2
    body = exactly(c, n)
    result = {"command": version & 15, "family": family}
    length = {0x11: 12, 0x21: 36}.get(family, 0)
    if length:
        size = (length - 4) // 2
        ports = struct.unpack("!HH", body[2 * size:length])
        result["source"] = (str(ipaddress.ip_address(body[:size])), ports[0])
        result["destination"] = (str(ipaddress.ip_address(body[size:2 * size])), ports[1])
    result["tlvs"] = tlvs(body[length:])
    if CRC32C in result["tlvs"]:
        found = result["tlvs"][CRC32C]
        whole = head + body
        at = whole.rindex(b"\x03\0\x04" + found) + 3
        assert struct.unpack("!I", found)[0] == crc32c(whole[:at] + bytes(4) + whole[at + 4:])
    if SSL in result["tlvs"]:
        ssl = result["tlvs"][SSL]
        result["ssl"] = {"client": ssl[0], "verify": struct.unpack("!I", ssl[1:5])[0], "tlvs": tlvs(ssl[5:])}
    return result


def v1(source, destination):
    kind = "TCP6" if ":" in source[0] else "TCP4"
    return f"PROXY {kind} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


def v2(source=None, destination=None, extra=b"", with_crc=False, command=1):
    if source is None:
        family, addresses = 0, b""
    else:
        a, b = ipaddress.ip_address(source[0]), ipaddress.ip_address(destination[0])
        family = 0x11 if a.version == 4 else 0x21
        addresses = a.packed + b.packed + struct.pack("!HH", source[1], destination[1])
    body = addresses + extra + (b"\x03\0\x04" + bytes(4) if with_crc else b"")
    whole = SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(body)) + body
    if with_crc:
        whole = whole[:-4] + struct.pack("!I", crc32c(whole))
    return whole
