"""
Clients whose handshake is made here, message by message, right or wrong: TLS 1.3 with X25519 and TLS_AES_128_GCM_SHA256, TLS 1.2 with X25519 and
ECDHE-ECDSA-AES128-GCM-SHA256. They know as much as an honest handshake needs, and read the alert that ends a bad one, under whatever keys it comes.
"""
import hashlib
import hmac
import os
import socket
import struct

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import clients, hello
from .raw import ALERT, CHANGE_CIPHER, DATA, HANDSHAKE, Half12, Half13, expand_label, prf12

CLIENT_HELLO, SERVER_HELLO, TICKET, ENCRYPTED_EXTENSIONS, CERTIFICATE, KEY_EXCHANGE, REQUEST, HELLO_DONE, VERIFY, CLIENT_KEY, FINISHED = \
    1, 2, 4, 8, 11, 12, 13, 14, 15, 16, 20
RETRY = hashlib.sha256(b"HelloRetryRequest").digest()  # RFC 8446 4.1.3: the random of a ServerHello that is one
EMPTY = hashlib.sha256().digest()
SHA256 = hashes.SHA256()
SUITE = (SHA256, 16, AESGCM)


def framed(kind, body, length=None):
    """A handshake message; LENGTH: what it says of itself."""
    return bytes([kind]) + (len(body) if length is None else length).to_bytes(3, "big") + body


def record(kind, body, version=0x0303, length=None):
    return struct.pack("!BHH", kind, version, len(body) if length is None else length) + body


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def raw_public(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Client:
    """The records of either version."""

    def __init__(self, port):
        self.socket = clients.tcp(port)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = self.socket.getsockname()
        self.random = os.urandom(32)
        self.key = x25519.X25519PrivateKey.generate()
        self.seal = self.opens = None  # keys of what is sent, and read
        self.transcript = b""
        self.messages = b""
        self.got_ccs = False

    def close(self):
        self.socket.close()

    def send_bytes(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is over; last_words() says how

    def sealed(self, kind, content):
        """One record, under the present key, in plain while there is none."""
        return self.seal.seal(kind, content) if self.seal else record(kind, content)

    def send(self, kind, content, size=16384):
        self.send_bytes(b"".join(self.sealed(kind, content[i:i + size]) for i in range(0, len(content), size)))

    def say(self, message, size=16384):
        """A handshake message that counts."""
        self.transcript += message
        self.send(HANDSHAKE, message, size)

    def read_record(self):
        """(content type, content), or None at the end."""
        try:
            head = clients.receive(self.socket, 5)
            body = clients.receive(self.socket, struct.unpack("!H", head[3:])[0])
        except (AssertionError, ConnectionResetError):
            return None
        if self.opens and (head[0] == DATA or self.got_ccs):
            return self.opens.open(head, body)
        return head[0], body

    def read_message(self):
        """The server's next handshake message."""
        while len(self.messages) < 4 or len(self.messages) < 4 + int.from_bytes(self.messages[1:4], "big"):
            kind, content = self.read_record() or (None, b"")
            if kind == CHANGE_CIPHER:
                self.on_ccs()
                continue
            assert kind == HANDSHAKE, (kind, content)
            self.messages += content
        n = 4 + int.from_bytes(self.messages[1:4], "big")
        message, self.messages = self.messages[:n], self.messages[n:]
        return message

    def hear(self, kind):
        message = self.read_message()
        assert message[0] == kind, (message[0], kind)
        self.transcript += message
        return message

    def on_ccs(self):
        pass

    def last_words(self):
        """The description of the one alert that the server ends with; None without one, "reset" for a reset, "waits" when nothing comes. What else it says before is passed over."""
        alert = None
        if self.socket.fileno() < 0:
            return "gone"
        while True:
            try:
                head = clients.receive(self.socket, 5)
                body = clients.receive(self.socket, struct.unpack("!H", head[3:])[0])
            except AssertionError:
                return alert
            except ConnectionResetError:
                return "reset" if alert is None else alert
            except TimeoutError:
                return "waits"
            opened = self.opens.open(head, body) if self.opens and (head[0] == DATA or self.got_ccs) else (head[0], body)
            if alert is None and opened[0] in (CHANGE_CIPHER, HANDSHAKE):
                if opened[0] == CHANGE_CIPHER:
                    self.on_ccs()
                continue
            assert opened[0] == ALERT, opened
            assert alert is None and opened[1][0] == 2, opened
            alert = opened[1][1]

    def echoes(self, data=b"is it me you hear"):
        self.send(DATA, data)
        while True:
            kind, content = self.read_record() or (None, b"")
            if kind == DATA and content:
                return content == data
            assert kind in (DATA, HANDSHAKE), (kind, content)


class Client13(Client):
    """hello(), then certificate() and verify() where asked for, then finish()."""

    version = 13

    def __init__(self, port, session_id=bytes(range(32))):
        super().__init__(port)
        self.session_id = session_id
        self.psk = None  # (ticket, key), to be offered
        self.requested = self.resumed = False

    def share(self):
        return struct.pack("!H", hello.X25519) + hello.vec16(raw_public(self.key))

    def extensions(self, shares=True, **keys):
        """Those of an honest hello, the ticket's last; without SHARES the server asks for one."""
        found = hello.usual(groups=(hello.X25519,), shares=[], **keys)
        found[hello.SHARES] = hello.vec16(self.share() if shares else b"")
        found[hello.PSK_MODES] = b"\x01\x01"
        if self.psk:
            found[hello.PSK] = hello.vec16(hello.vec16(self.psk[0]) + bytes(4)) + hello.vec16(hello.vec8(bytes(32)))
        return found

    def message(self, extensions=None, **fields):
        """The hello; the binder of a ticket, when it is the last extension and there is one, is put right."""
        extensions = self.extensions() if extensions is None else extensions
        fields = {"random": self.random, "session_id": self.session_id, "suites": [0x1301], **fields}
        m = hello.message(extensions, **fields)
        kinds = [k for k, _ in extensions] if not isinstance(extensions, dict) else list(extensions)
        if self.psk and kinds[-1] == hello.PSK and m[-33:] == b"\x20" + bytes(32):
            m = m[:-32] + self.binder(m[:-35])
        return m

    def binder(self, cut):
        early = mac(bytes(32), self.psk[1])
        base = expand_label(SHA256, early, b"res binder", 32, EMPTY)
        return mac(expand_label(SHA256, base, b"finished", 32), hashlib.sha256(self.transcript + cut).digest())

    def hello(self, extensions=None, size=16384, **fields):
        """Says it and hears the answer: "retry", or "flight"."""
        self.say(self.message(extensions, **fields), size)
        return self.hear_answer()

    def retry(self):
        """The first of two hellos: without a share."""
        assert self.hello(self.extensions(shares=False)) == "retry"

    def hear_answer(self):
        said = self.read_message()
        assert said[0] == SERVER_HELLO, said
        if said[6:38] == RETRY:
            self.transcript = framed(254, hashlib.sha256(self.transcript).digest()) + said
            return "retry"
        self.transcript += said
        at = 39 + said[38] + 3 + 2
        theirs = None
        while at < len(said):
            kind, n = struct.unpack("!HH", said[at:at + 4])
            if kind == hello.SHARES:
                theirs = said[at + 8:at + 4 + n]
            self.resumed = self.resumed or kind == hello.PSK
            at += 4 + n
        self._handshake_keys(self.key.exchange(x25519.X25519PublicKey.from_public_bytes(theirs)))
        return self._hear_flight()

    def _derive(self, secret, label):
        return expand_label(SHA256, secret, label, 32, hashlib.sha256(self.transcript).digest())

    def _handshake_keys(self, shared):
        early = mac(bytes(32), self.psk[1] if self.resumed else bytes(32))
        self.stage = mac(expand_label(SHA256, early, b"derived", 32, EMPTY), shared)
        self.client_secret, server_secret = self._derive(self.stage, b"c hs traffic"), self._derive(self.stage, b"s hs traffic")
        self.seal, self.opens = Half13(SUITE, self.client_secret, 0), Half13(SUITE, server_secret, 0)

    def _hear_flight(self):
        self.hear(ENCRYPTED_EXTENSIONS)
        while (kind := (said := self.read_message())[0]) != FINISHED:
            assert kind in (REQUEST, CERTIFICATE, VERIFY), kind
            self.requested = self.requested or kind == REQUEST
            self.transcript += said
        self.transcript += said
        self.stage = mac(expand_label(SHA256, self.stage, b"derived", 32, EMPTY), bytes(32))
        self.session_secret = self._derive(self.stage, b"c ap traffic")
        self.opens = Half13(SUITE, self._derive(self.stage, b"s ap traffic"), 0)
        return "flight"

    def finished_message(self):
        return framed(FINISHED, mac(expand_label(SHA256, self.client_secret, b"finished", 32), hashlib.sha256(self.transcript).digest()))

    def certificate_message(self, chain=(), context=b"", extensions=b""):
        return framed(CERTIFICATE, hello.vec8(context) + vec24(b"".join(vec24(der) + hello.vec16(extensions) for der in chain)))

    def verify_message(self, key, scheme=0x0403, context=b"TLS 1.3, client CertificateVerify"):
        content = b" " * 64 + context + b"\0" + hashlib.sha256(self.transcript).digest()
        return framed(VERIFY, struct.pack("!H", scheme) + hello.vec16(key.sign(content, ec.ECDSA(SHA256))))

    def finish(self, size=16384):
        self.say(self.finished_message(), size)
        self.enter_session()

    def enter_session(self):
        self.seal = Half13(SUITE, self.session_secret, 0)

    def ticket(self):
        """(ticket, key) for a later client's .psk, after finish()."""
        resumption = self._derive(self.stage, b"res master")
        said = self.read_message()
        assert said[0] == TICKET
        nonce = said[13:13 + said[12]]
        at = 13 + said[12]
        n = int.from_bytes(said[at:at + 2], "big")
        return said[at + 2:at + 2 + n], expand_label(SHA256, resumption, b"resumption", 32, nonce)


class Client12(Client):
    """hello(), then certificate() where asked for, key(), verify() after a certificate, change(), finish(), hear_end()."""

    version = 12

    def __init__(self, port, session_id=b""):
        super().__init__(port)
        self.session_id = session_id
        self.requested = False
        self.ticket = None  # (ticket, master secret), to be offered
        self.resumed = False

    def extensions(self, **keys):
        found = hello.usual(False, groups=(hello.X25519, hello.P256), **keys)  # that of the certificate, too
        found[11] = b"\x01\0"  # ec_point_formats
        found[35] = self.ticket[0] if self.ticket else b""
        return found

    def message(self, extensions=None, **fields):
        extensions = self.extensions() if extensions is None else extensions
        return hello.message(extensions, **{"random": self.random, "session_id": self.session_id, "suites": [0xC02B], **fields})

    def hello(self, extensions=None, size=16384, **fields):
        self.say(self.message(extensions, **fields), size)
        said = self.hear(SERVER_HELLO)
        self.server_random = said[6:38]
        self.resumed = bool(self.ticket) and self.session_id != b"" and said[38:39 + said[38]] == hello.vec8(self.session_id)
        if self.resumed:
            self.master = self.ticket[1]
            self._keys()
            return self.hear_end()
        while (kind := (said := self.read_message())[0]) != HELLO_DONE:
            assert kind in (CERTIFICATE, KEY_EXCHANGE, REQUEST), kind
            self.requested = self.requested or kind == REQUEST
            if kind == KEY_EXCHANGE:
                self.theirs = x25519.X25519PublicKey.from_public_bytes(said[8:8 + said[7]])
            self.transcript += said
        self.transcript += said
        return "flight"

    def certificate_message(self, chain=()):
        return framed(CERTIFICATE, vec24(b"".join(vec24(der) for der in chain)))

    def verify_message(self, key, scheme=0x0403):
        return framed(VERIFY, struct.pack("!H", scheme) + hello.vec16(key.sign(self.transcript, ec.ECDSA(SHA256))))

    def key_message(self):
        return framed(CLIENT_KEY, hello.vec8(raw_public(self.key)))

    def exchange(self):
        """ClientKeyExchange."""
        self.say(self.key_message())
        self.master = prf12(SHA256, self.key.exchange(self.theirs), b"master secret", self.random + self.server_random, 48)
        self._keys()

    def _keys(self):
        block = prf12(SHA256, self.master, b"key expansion", self.server_random + self.random, 40)
        self.next_seal = Half12(AESGCM(block[:16]), block[32:36], 0, False)
        self.next_opens = Half12(AESGCM(block[16:32]), block[36:40], 0, False)

    def change(self):
        self.send_bytes(record(CHANGE_CIPHER, b"\x01"))
        self.seal = self.next_seal

    def on_ccs(self):
        self.opens, self.got_ccs = self.next_opens, True

    def finished_message(self, label=b"client finished"):
        return framed(FINISHED, prf12(SHA256, self.master, label, hashlib.sha256(self.transcript).digest(), 12))

    def finish(self, size=16384):
        self.say(self.finished_message(), size)

    def hear_end(self):
        """The server's ticket, ChangeCipherSpec and Finished."""
        said = self.read_message()
        if said[0] == TICKET:
            self.transcript += said
            self.new_ticket = said[10:], self.master
            said = self.read_message()
        assert said[0] == FINISHED and self.got_ccs
        self.transcript += said
        return "resumed"


def vec24(data):
    return len(data).to_bytes(3, "big") + data


def ticket_of(port):
    """A ticket of a session that was well, and what it resumes."""
    c = Client13(port)
    c.hello()
    c.finish()
    ticket = c.ticket()
    assert c.echoes()
    c.close()
    return ticket
