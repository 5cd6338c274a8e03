"""OCSP responders for tests: openssl's own, and one that can be wrong in every way."""
import datetime
import http.server
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from .clients import free_port


def names_responder(url):
    """The extension of a certificate whose responder is at URL."""
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))])


def for_signing():
    """The extension of a certificate whose key may sign responses for its issuer."""
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])


def loaded(file):
    return x509.load_pem_x509_certificate(open(file, "rb").read())


class Openssl:
    """`openssl ocsp` with an index of what was issued."""

    def __init__(self, parts, ca, signer, key, port=None):
        self.parts, self.port = parts, port or free_port()
        self.directory = parts.directory / f"ocsp{next(parts.number)}"
        self.directory.mkdir()
        self.index = self.directory / "index.txt"
        self.index.write_text("")
        self.arguments = ["openssl", "ocsp", "-port", str(self.port), "-index", self.index, "-CA", ca, "-rsigner", signer, "-rkey", key, "-nmin", "60"]
        self.server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def issued(self, certificate, revoked=False):
        """It reads its index at the start alone."""
        serial = f"{certificate.serial_number:X}"
        serial = serial if len(serial) % 2 == 0 else "0" + serial
        lines = [line for line in self.index.read_text().splitlines() if f"\t{serial}\t" not in line]
        state = f"R\t351231235959Z\t{datetime.datetime.utcnow():%y%m%d%H%M%SZ}" if revoked else "V\t351231235959Z\t"
        lines.append(f"{state}\t{serial}\tunknown\t/CN=x")
        self.index.write_text("".join(line + "\n" for line in lines))

    def start(self):
        """A connection without a request would keep it: its socket is looked for instead."""
        self.server = self.parts.server(*self.arguments)
        self.server.wait_port()
        return self

    def stop(self):
        self.server.close()


class Responder:
    """Answers a path as its function says: (request) -> (status, body), or None to say nothing for ever."""

    def __init__(self, parts, issuer, key):
        responder = self
        self.issuer, self.key, self.ended = issuer, key, threading.Event()
        self.ways, self.asked = {}, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/ocsp-request"
                responder.asked.append(self.path)
                said = responder.ways[self.path](ocsp.load_der_ocsp_request(body))
                if said is None:
                    responder.ended.wait()
                    return
                status, answer, *more = said
                self.send_response_only(status)
                self.send_header("Content-Type", "application/ocsp-response")
                for name, value in more:
                    self.send_header(name, value)
                if not any(name == "Content-Length" for name, _ in more):
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        parts.add(self)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def response(self, certificate, status=ocsp.OCSPCertStatus.GOOD, begins=-3600, ends=3600, signer=None, key=None):
        """DER about CERTIFICATE; times are seconds from now."""
        now = datetime.datetime.utcnow()
        revoked = now - datetime.timedelta(days=1) if status == ocsp.OCSPCertStatus.REVOKED else None
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=certificate, issuer=self.issuer, algorithm=hashes.SHA1(), cert_status=status, this_update=now + datetime.timedelta(seconds=begins),
            next_update=now + datetime.timedelta(seconds=ends), revocation_time=revoked, revocation_reason=None)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer or self.issuer)
        if signer is not None:
            builder = builder.certificates([signer])
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def close(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(20)
