"""A session whose records we make ourselves: Python's ssl does the handshake, its key log gives the secrets (TLS 1.3 and 1.2)."""
import os
import ssl
import struct
import tempfile

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from . import clients

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CLOSE_NOTIFY = b"\x01\x00"


def expand_label(hash_, secret, label, n, context=b""):
    full = b"tls13 " + label
    info = struct.pack("!HB", n, len(full)) + full + bytes([len(context)]) + context
    return HKDFExpand(hash_, n, info).derive(secret)


def prf12(hash_, secret, label, seed, n):
    def mac(data):
        h = hmac.HMAC(secret, hash_)
        h.update(data)
        return h.finalize()

    seed, out, a = label + seed, b"", label + seed
    while len(out) < n:
        a = mac(a)
        out += mac(a + seed)
    return out[:n]


class Half13:
    def __init__(self, suite, secret, seq):
        self.hash, self.key_len, self.aead_class = suite
        self.seq = seq
        self._use(secret)

    def _use(self, secret):
        self.secret = secret
        self.aead = self.aead_class(expand_label(self.hash, secret, b"key", self.key_len))
        self.iv = expand_label(self.hash, secret, b"iv", 12)

    def update(self):
        self._use(expand_label(self.hash, self.secret, b"traffic upd", self.hash.digest_size))
        self.seq = 0

    def nonce(self):
        seq = self.seq.to_bytes(12, "big")
        self.seq += 1
        return bytes(a ^ b for a, b in zip(self.iv, seq))

    def seal(self, kind, plain, padding=0):
        inner = plain + bytes([kind]) + bytes(padding)
        return self.seal_inner(inner)

    def seal_inner(self, inner):
        head = struct.pack("!BHH", DATA, 0x0303, len(inner) + 16)
        return head + self.aead.encrypt(self.nonce(), inner, head)

    def open(self, head, body):
        if head[0] != DATA:
            return head[0], body
        inner = self.aead.decrypt(self.nonce(), body, head).rstrip(b"\0")
        return inner[-1], inner[:-1]


class Half12:
    def __init__(self, aead, iv, seq, is_chacha):
        self.aead, self.iv, self.seq, self.is_chacha = aead, iv, seq, is_chacha

    def _nonce(self, explicit):
        if self.is_chacha:
            return bytes(a ^ b for a, b in zip(self.iv, self.seq.to_bytes(12, "big")))
        return self.iv + explicit

    def _ad(self, kind, n):
        return struct.pack("!QBHH", self.seq, kind, 0x0303, n)

    def seal(self, kind, plain, padding=0):
        assert padding == 0
        explicit = b"" if self.is_chacha else struct.pack("!Q", self.seq)
        body = explicit + self.aead.encrypt(self._nonce(explicit), plain, self._ad(kind, len(plain)))
        self.seq += 1
        return struct.pack("!BHH", kind, 0x0303, len(body)) + body

    def open(self, head, body):
        explicit = b"" if self.is_chacha else body[:8]
        sealed = body[len(explicit):]
        plain = self.aead.decrypt(self._nonce(explicit), sealed, self._ad(head[0], len(sealed) - 16))
        self.seq += 1
        return head[0], plain


def in_pieces(n):
    """For RawSession: all that the client sends in the handshake in records of N bytes."""
    def rewrite(records):
        for kind, plain, sealed in records:
            step = n if kind == HANDSHAKE else len(plain)
            for i in range(0, len(plain), step):
                yield kind, plain[i:i + step], sealed
    return rewrite


class RawSession:
    """
    After the handshake: send_record(), send_bytes(), read_record(). REWRITE makes of each flight of the client's, a list of
    (content type, plain bytes, is sealed), the one that is sent.
    """

    def __init__(self, port, version=clients.V13, ciphers=None, name="localhost", rewrite=None, ctx=None, **options):
        self.socket = clients.tcp(port, **options)
        self.received = b""
        self.version = version
        self.rewrite = rewrite
        self.ccs_sent, self.sealed = False, 1
        self.flight_halves = None
        ctx = ctx or clients.context(version=version, ciphers=ciphers)
        fd, self.log = tempfile.mkstemp()
        os.close(fd)
        ctx.keylog_filename = self.log
        try:
            self._handshake(ctx, name)
            self._read_log()
        except BaseException:
            self.socket.close()
            raise
        finally:
            os.unlink(self.log)
        self._take_over()

    def _read_log(self):
        with open(self.log) as f:
            rows = [line.split() for line in f if line.strip() and line[0] != "#"]
        self.secrets = {row[0]: bytes.fromhex(row[2]) for row in rows}
        self.client_random = bytes.fromhex(rows[0][1])

    def _handshake(self, ctx, name):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = o = ctx.wrap_bio(incoming, outgoing, server_hostname=name)
        self.wire = b""
        while True:
            try:
                o.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush(outgoing)
                record = self._raw_record()
                self.wire += record
                incoming.write(record)
        self._flush(outgoing)
        self.suite = o.cipher()[0]
        self.server_random = self.wire[11:43]

    def _flush(self, outgoing):
        data = outgoing.read()
        if data:
            self.socket.sendall(self._rewritten(data) if self.rewrite else data)

    def _rewritten(self, data):
        records = []
        while data:
            kind, head = data[0], data[:5]
            body, data = data[5:5 + struct.unpack("!H", head[3:])[0]], data[5 + struct.unpack("!H", head[3:])[0]:]
            sealed = kind == DATA or (self.ccs_sent and self.version == clients.V12)
            self.ccs_sent = self.ccs_sent or kind == CHANGE_CIPHER
            if sealed:
                kind, body = self._flight_half(0).open(head, body)
            records.append((kind, body, sealed))
        out = b""
        for kind, plain, sealed in self.rewrite(records):
            out += self._flight_half(1).seal(kind, plain) if sealed else struct.pack("!BHH", kind, 0x0303, len(plain)) + plain
        if self.flight_halves:
            self.sealed = self.flight_halves[1].seq
        return out

    def _flight_half(self, i):
        """The client's keys of the handshake, once to open what its library made, once to seal what is made of it."""
        if self.flight_halves is None:
            self._read_log()
            self.suite = self.object.cipher()[0]
            self.server_random = self.wire[11:43]
            if self.version == clients.V13:
                secret = self.secrets["CLIENT_HANDSHAKE_TRAFFIC_SECRET"]
                self.flight_halves = [Half13(self._suite13(), secret, 0) for _ in range(2)]
            else:
                self.flight_halves = [self._halves12()[0] for _ in range(2)]
        return self.flight_halves[i]

    def _raw_record(self):
        head = clients.receive(self.socket, 5)
        return head + clients.receive(self.socket, struct.unpack("!H", head[3:5])[0])

    def _suite13(self):
        hash_ = hashes.SHA384() if "SHA384" in self.suite else hashes.SHA256()
        return hash_, 16 if "128" in self.suite else 32, ChaCha20Poly1305 if "CHACHA" in self.suite else AESGCM

    def _take_over(self):
        if self.version == clients.V13:
            self.out = Half13(self._suite13(), self.secrets["CLIENT_TRAFFIC_SECRET_0"], 0)
            self.into = Half13(self._suite13(), self.secrets["SERVER_TRAFFIC_SECRET_0"], 0)
            return
        self.out, self.into = self._halves12()
        self.out.seq, self.into.seq = self.sealed, 1

    def _halves12(self):
        hash_, key_len, aead = self._suite13()
        is_chacha = "CHACHA" in self.suite
        iv_len = 12 if is_chacha else 4
        block = prf12(hash_, self.secrets["CLIENT_RANDOM"], b"key expansion", self.server_random + self.client_random,
                      2 * (key_len + iv_len))
        keys, ivs = block[:2 * key_len], block[2 * key_len:]
        return Half12(aead(keys[:key_len]), ivs[:iv_len], 0, is_chacha), Half12(aead(keys[key_len:]), ivs[iv_len:], 0, is_chacha)

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send_record(self, kind, plain, padding=0):
        self.socket.sendall(self.out.seal(kind, plain, padding))

    def read_record(self):
        """(content type, plain bytes); None at the end of TCP."""
        try:
            record = self._raw_record()
        except (AssertionError, ConnectionResetError):
            return None
        return self.into.open(record[:5], record[5:])

    def read_data(self):
        """The next data record's bytes; session tickets are passed over."""
        while True:
            record = self.read_record()
            assert record is not None, "the end of TCP came first"
            if record[0] == HANDSHAKE and self.version == clients.V13 and record[1][:1] == b"\x04":
                continue
            assert record[0] == DATA, record
            if record[1]:
                return record[1]

    def read_n(self, n):
        data = b""
        while len(data) < n:
            data += self.read_data()
        assert len(data) == n
        return data

    def read_alert(self):
        """(level, description) of the next alert, whatever data comes before it."""
        while True:
            record = self.read_record()
            assert record is not None, "the end of TCP came without an alert"
            if record[0] == ALERT:
                return record[1][0], record[1][1]

    def says_echo(self, data=b"hello, records"):
        self.send_record(DATA, data)
        assert self.read_n(len(data)) == data

    def close(self):
        """Sends close_notify and waits for the other side's end."""
        self.send_record(ALERT, CLOSE_NOTIFY)
        while self.read_record() is not None:
            pass
        self.socket.close()


__all__ = ["RawSession", "in_pieces", "InvalidTag", "CHANGE_CIPHER", "ALERT", "HANDSHAKE", "DATA", "CLOSE_NOTIFY"]
