"""OCSP responses that the proxy fetches itself: stapled, renewed, kept over restarts; and responders that are wrong in every way."""
import re

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp

from support.clients import connect, context, free_port, s_client, says_echo
from support.ocsp import Openssl, Responder, for_signing, loaded, names_responder
from support.pki import Pki
from support.waiting import DEADLINE, until
from test_acme import NAMES, Site


def with_issuer(pki, entry):
    """The issuer behind the leaf, as responses are checked by it."""
    with open(entry["cert"], "ab") as f:
        f.write(pki.ca.read_bytes())
    return entry


def stapled(p, name, version="-tls1_3"):
    c = s_client(p.port, version, "-status", "-servername", name)
    c.wait_for("OCSP response:")
    _, said = c.end()
    said = said if isinstance(said, str) else said.decode(errors="replace")
    assert ("Cert Status: good" in said) != ("OCSP response: no response sent" in said), said
    return "Cert Status: good" in said


def known(p, name):
    """What /certificates.json says of the certificate with NAME."""
    return next(c for c in p.admin.json("/certificates.json")["certificates"] if name in c["names"])


def wait_known(p, name, **wanted):
    def there():
        found = known(p, name).get("ocsp_fetch", {})
        return all(found.get(k) == v for k, v in wanted.items()) and found

    return until(there, lambda: f"{name} {wanted}: {known(p, name)}\n{p.text()}")


def wait_stapled(p, name, wanted=True, version="-tls1_3"):
    until(lambda: stapled(p, name, version) == wanted, lambda: f"stapled {wanted}:\n{p.text()}", deadline=2 * DEADLINE)


def test_a_real_responder(parts, pki):
    signer = pki.leaf("responder", "p256", ["responder"], extensions=[for_signing()])
    responder = Openssl(parts, pki.ca, signer["cert"], signer["key"])
    entry = with_issuer(pki, pki.leaf("asked", "p256", ["localhost"], extensions=[names_responder(responder.url)]))
    plain = with_issuer(pki, pki.leaf("plain", "rsa", ["plain.example.org"]))
    responder.issued(loaded(entry["cert"]))
    responder.start()
    p = parts.proxy(parts.backend(), certificates=[entry, plain], fetch_ocsp=True, listen=[f"127.0.0.1:{free_port()}"])
    assert set(p.roles()) & {"acme", "keymaker"} == {"acme"}, "there are no keys to make"
    for version in ("-tls1_3", "-tls1_2"):  # our handshake, and libssl's
        wait_stapled(p, "localhost", version=version)
    found = wait_known(p, "localhost", state="good")
    assert found["from"] < found["next_attempt"] < found["until"] and found["failures_in_a_row"] == 0
    assert known(p, "localhost")["ocsp"] == "stapled"
    assert known(p, "plain.example.org")["ocsp_fetch"]["state"] == "no-responder"
    metrics = p.admin.ask("/metrics").text
    assert 'tls_off_ocsp_certificates{state="good"} 1' in metrics and "tls_off_ocsp_failures_in_a_row 0" in metrics
    assert not stapled(p, "plain.example.org")
    responder.stop()
    p.stop()
    p.start()
    assert stapled(p, "localhost"), "what is on the disk serves from the first handshake on"


def fault(answer):
    return lambda request: answer


def test_responders_that_are_wrong(parts, pki):
    issuer = loaded(pki.ca)
    responder = Responder(parts, issuer, pki.ca_key)
    stranger = Pki(parts.directory / "strangers")  # an authority of the same name
    nobody = pki.leaf("nobody", "p256", ["nobody"])  # of the same issuer, who does not let it sign
    nobody_key = serialization.load_pem_private_key(open(nobody["key"], "rb").read(), None)
    other = loaded(nobody["cert"])
    good = lambda cert, **k: fault((200, responder.response(cert, **{"ends": 40, **k})))
    faults = {  # name -> (what the responder does, what the log says)
        "hang": (lambda cert: fault(None), None),
        "garbage": (lambda cert: fault((200, b"x" * 1000)), "found no OCSP response, expected one in DER"),
        "empty": (lambda cert: fault((200, b"")), "found no OCSP response, expected one in DER"),
        "giant": (lambda cert: fault((200, b"x" * (1 << 20))), "its answer is longer than 128 KiB"),
        "big": (lambda cert: fault((200, responder.response(cert) + b"x" * 60000)), "status 200 with \\d+ bytes, expected 200 with at most 32768"),
        "tail": (lambda cert: fault((200, responder.response(cert) + b"x")), "found no OCSP response, expected one in DER"),
        "cut": (lambda cert: fault((200, responder.response(cert)[:-10], ("Content-Length", "5000"))), "(transfer closed|end of response) with"),  # libcurl 7, 8
        "error": (lambda cert: fault((500, b"{}")), "status 500 with 2 bytes"),
        "redirect": (lambda cert: fault((302, b"", ("Location", responder.url("/good")))), "status 302"),
        "trylater": (lambda cert: fault((200, ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(serialization.Encoding.DER))),
                     "the responder answered .*trylater"),
        "ended": (lambda cert: good(cert, begins=-7200, ends=-60), "its answer ended on 20"),
        "future": (lambda cert: good(cert, begins=7200, ends=9000), "its clock or ours is wrong: its answer begins on 20"),
        "other": (lambda cert: good(other), "the response is not about the certificate in"),
        "unknown": (lambda cert: good(cert, status=ocsp.OCSPCertStatus.UNKNOWN), "the responder does not know the certificate"),
        "stranger": (lambda cert: good(cert, signer=loaded(stranger.ca), key=stranger.ca_key), "the response is not signed by the certificate's issuer"),
        "nobody": (lambda cert: good(cert, signer=other, key=nobody_key), "the response is not signed by the certificate's issuer"),
        "replay": (lambda cert: good(cert, begins=-9000, ends=4000), None),
    }
    names = {n: f"{n}.example.org" for n in [*faults, "revoked", "ends"]}
    entries, certs = [], {}
    for n, name in names.items():
        more = [x509.TLSFeature([x509.TLSFeatureType.status_request])] if n == "ends" else []
        entries.append(with_issuer(pki, pki.leaf(n, "p256", [name], extensions=[names_responder(responder.url("/" + n)), *more])))
        certs[n] = loaded(entries[-1]["cert"])
        responder.ways["/" + n] = good(certs[n], ends=40)
    responder.ways["/ends"] = lambda request: (200, responder.response(certs["ends"], ends=8))  # from when it is asked for
    p = parts.proxy(parts.backend(), certificates=entries, fetch_ocsp=True, top={"watch_interval": "1s"})
    p.wait_text("ends.pem: the certificate demands a stapled OCSP response")  # before the first one is there
    for n in names:
        wait_known(p, names[n], state="good")
    for n, (way, _) in faults.items():
        responder.ways["/" + n] = way(certs[n])
    responder.ways["/revoked"] = good(certs["revoked"], status=ocsp.OCSPCertStatus.REVOKED, begins=-60)
    responder.ways["/ends"] = fault((503, b""))
    for n, (_, said) in faults.items():
        if said:
            p.wait_text(rf"/{n}.pem: no OCSP response from {responder.url('/' + n)}: .*{said}.*; the one that is there serves until its end")
    p.wait_text(r"/revoked.pem: the responder .* says that the certificate is revoked: nothing is stapled")
    wait_stapled(p, names["revoked"], wanted=False)
    wait_known(p, names["revoked"], state="revoked")
    for n in faults:
        assert known(p, names[n])["ocsp"] == "stapled", n
    assert stapled(p, names["other"]) and stapled(p, names["hang"], "-tls1_2") and stapled(p, names["replay"])
    until(lambda: responder.asked.count("/replay") > 1, "the replay")
    assert known(p, names["replay"])["ocsp_fetch"]["failures_in_a_row"] == 0, "an older answer is no failure, and changes nothing"
    wait_stapled(p, names["ends"], wanted=False)
    p.wait_text("ends.pem: the OCSP response for it has ended; it is not stapled any more")
    with connect(p.port, context(), name=names["ends"]) as c:  # one that asks for nothing is served
        says_echo(c)
    responder.ways["/ends"] = good(certs["ends"], begins=-60, ends=4000)
    wait_stapled(p, names["ends"])
    p.wait_text(rf"ends.pem: the responder {responder.url('/ends')} answers again")

    files = list((p.directory / "state" / "acme" / "run" / "ocsp").iterdir())
    assert len(files) == len(names), files
    for n in names:  # nothing is left to be asked soon
        responder.ways["/" + n] = good(certs[n], begins=-30, ends=40000)
    responder.ended.set()


def test_certificates_of_an_acme_issuer(parts):
    """The responder says good, and after a while revoked: then another certificate is ordered."""
    port = free_port()
    site = Site(parts, service={"fetch_ocsp": True}, pebble={"responder": f"http://127.0.0.1:{port}/"}).start()
    site.wait_trusted()
    name, p = NAMES[0], site.p
    first = site.served()
    p.wait_text(r"web.ecdsa-p256/fullchain.pem: no OCSP response from http://127.0.0.1:\d+/: .*[Cc]onn")
    responder = site.pebble.ocsp(parts, port)
    responder.issued(first)
    responder.start()
    for version in ("-tls1_3", "-tls1_2"):
        wait_stapled(p, name, version=version)
    wait_known(p, name, state="good", failures_in_a_row=0)
    responder.stop()
    p.stop()
    run = site.state / "run"
    order = next(run.glob("order.*.json"))
    order.write_text(re.sub(r'"installed": \d+', '"installed": 1', order.read_text()))  # it is not that young any more
    for file in (run / "ocsp").iterdir():
        file.unlink()
    responder.issued(first, revoked=True)
    responder.start()
    p.start()
    p.wait_text("web.ecdsa-p256/fullchain.pem: the responder .* says that the certificate is revoked")
    until(lambda: site.served().serial_number != first.serial_number, lambda: f"another one:\n{p.text()}")
    assert len(site.front.orders) == 2
    until(lambda: len(list((run / "ocsp").iterdir())) == 0, "the response of the one before is gone")  # of the new one the responder knows nothing
    until(lambda: wait_known(p, name, state="waiting")["error"], "why there is none for the new one")
