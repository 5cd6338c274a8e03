"""The examples of docs/starttls.md with the servers and clients they are for: each service as it is written there, but for addresses and files."""
import concurrent.futures
import imaplib
import os
import pathlib
import poplib
import re
import smtplib
import subprocess
import tomllib

import grpc
import pytest

from support import daemons
from support.clients import context, free_port, receive, receive_all, run, tcp

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "starttls.md").read_text()
EXAMPLES = {name: keys for block in re.findall(r"```toml\n(.*?)```", TEXT, re.S) for name, keys in tomllib.loads(block)["service"].items()}


def redis(parts):
    path = parts.directory / "redis.sock"
    parts.server("redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", parts.directory).wait_socket(path)
    return f"unix:{path}"


def mosquitto(parts):
    port, file = free_port(), parts.directory / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n" + ("user root\n" if os.getuid() == 0 else ""))
    parts.server("/usr/sbin/mosquitto", "-c", file)
    daemons.wait_greeting(port)
    return f"tcp:127.0.0.1:{port}"


class GrpcServer:
    """One method of a service without a schema: it says what it hears, backwards, as one message or as three."""

    def __init__(self):
        methods = {"Once": grpc.unary_unary_rpc_method_handler(lambda said, _: said[::-1]),
                   "Thrice": grpc.unary_stream_rpc_method_handler(lambda said, _: iter([said[::-1]] * 3))}
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Mirror", methods)])
        self.url = f"tcp:127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def close(self):
        self.server.stop(None).wait(20)


def use_db(p, pki):
    out = run("psql", f"host=localhost port={p.port} user=me dbname=postgres sslmode=verify-full sslrootcert={pki.ca}", "-X", "-q", "-A", "-t", "-c",
              "select 6 * 7")
    assert out == "42\n"


def use_ldap(p, pki):
    done = subprocess.run(["ldapsearch", "-ZZ", "-x", "-LLL", "-H", f"ldap://127.0.0.1:{p.port}", "-b", "dc=example,dc=org", "o"],
                          env={**os.environ, "LDAPTLS_CACERT": str(pki.ca)}, capture_output=True, text=True, timeout=60)
    assert "o: behind tls-off" in done.stdout, done.stderr


def use_imap(p, pki):
    with imaplib.IMAP4("localhost", p.port, timeout=60) as c:
        c.starttls(context(pki))
        c.login("me", "secret")
        assert c.select("INBOX")[0] == "OK"


def use_pop3(p, pki):
    c = poplib.POP3("localhost", p.port, timeout=60)
    c.stls(context(pki))
    c.user("me")
    c.pass_("secret")
    assert c.stat() == (0, 0)
    c.quit()


def upgrade(p, pki, go_ahead):
    s = tcp(p.port)
    s.sendall(b"STARTTLS\r\n")
    heard = b""
    while not heard.endswith(go_ahead):
        heard += receive(s, 1)
    return context(pki).wrap_socket(s, server_hostname="localhost")


def use_sieve(p, pki):
    with upgrade(p, pki, b'OK "begin TLS"\r\n') as c:
        assert receive(c, 17) == b'"IMPLEMENTATION" '


def use_news(p, pki):
    with upgrade(p, pki, b"382 Begin TLS\r\n") as c:
        c.sendall(b"CAPABILITIES\r\nQUIT\r\n")
        assert b"IMPLEMENTATION INN " in receive_all(c)


def use_submission(p, pki):
    with smtplib.SMTP("localhost", p.port, timeout=60) as c:
        c.starttls(context=context(pki))
        c.sendmail("me@example.org", ["you@example.net"], "Subject: hello\r\n\r\nbehind tls-off\r\n")


def use_redis(p, pki):
    base = ["redis-cli", "-h", "localhost", "-p", p.port, "--tls", "--cacert", pki.ca]
    assert run(*base, "set", "key", "value").strip() == "OK"
    assert run(*base, "get", "key").strip() == "value"


def use_mqtt(p, pki):
    base = ["-h", "localhost", "-p", str(p.port), "--cafile", str(pki.ca), "-t", "a/b", "-q", "1"]
    run("mosquitto_pub", *base, "-r", "-m", "behind tls-off")
    assert run("mosquitto_sub", *base, "-C", "1").strip() == "behind tls-off"


def use_grpc(p, pki):
    credentials = grpc.ssl_channel_credentials(pathlib.Path(pki.ca).read_bytes())
    with grpc.secure_channel(f"localhost:{p.port}", credentials) as channel:
        assert channel.unary_unary("/test.Mirror/Once")(b"abc", timeout=60) == b"cba"
        assert list(channel.unary_stream("/test.Mirror/Thrice")(b"x" * 100_000, timeout=60)) == [b"x" * 100_000] * 3


SERVERS = {
    "db": (daemons.postgresql, use_db),
    "ldap": (daemons.slapd, use_ldap),
    "imap": (lambda parts: daemons.dovecot(parts, "imap"), use_imap),
    "pop3": (lambda parts: daemons.dovecot(parts, "pop3"), use_pop3),
    "sieve": (lambda parts: daemons.dovecot(parts, "sieve"), use_sieve),
    "submission": (lambda parts: daemons.postfix(parts)[0], use_submission),
    "news": (daemons.inn, use_news),
    "redis": (redis, use_redis),
    "mqtt": (mosquitto, use_mqtt),
    "grpc": (lambda parts: parts.add(GrpcServer()).url, use_grpc),
}


def test_each_example_is_tried():
    assert set(EXAMPLES) == set(SERVERS)


@pytest.mark.parametrize("name", [n for n in SERVERS if n != "submission" or os.getuid() == 0])
def test_an_example_serves(parts, pki, name):
    start, use = SERVERS[name]
    url = start(parts)
    keys = {k: v for k, v in EXAMPLES[name].items() if k not in ("listen", "backends", "certificates")}
    p = parts.proxy(parts.backend(), backends=[url], **keys)
    use(p, pki)
    p.wait_session(tls_version="TLSv1.3")
