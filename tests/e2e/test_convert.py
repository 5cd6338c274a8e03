"""Configurations of other proxies as ours: each one passes `check`, and serves the same clients as its origin, which runs beside it."""
import os
import pathlib
import re
import shutil
import ssl
import subprocess

import pytest

from support.clients import V12, context, free_port, tcp
from support.proxy import Proxy, command, passes_check
from support.waiting import DEADLINE, until

CONFIGS = pathlib.Path(__file__).with_name("convert")
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
PROGRAMS = {"hitch": "hitch", "stunnel": "stunnel4", "haproxy": "haproxy", "nginx": "nginx"}


def kind_of(name):
    return name.split("-")[0]


def format_of(name):
    return "nginx-stream" if kind_of(name) == "nginx" else kind_of(name)


class Site:
    """Certificates, two applications that say who they are, and a configuration with the words between @ signs filled in."""

    def __init__(self, parts, directory, name):
        self.name = name
        self.directory = directory / "origin"
        self.directory.mkdir()
        self.parts = parts
        for cn in ("a.test", "b.test"):
            entry = parts.pki.leaf(cn, "p256", [cn])
            chain = open(entry["cert"], "rb").read() + parts.pki.ca.read_bytes()
            key = open(entry["key"], "rb").read()
            self.put(cn + ".pem", key + chain)
            self.put(cn + ".crt", chain)
            self.put(cn + ".key", key)
        shutil.copy(parts.pki.ca, self.directory / "ca.pem")
        (self.directory / "certs").mkdir()
        for cn in ("a.test", "b.test"):
            shutil.copy(self.directory / (cn + ".pem"), self.directory / "certs")
        (self.directory / "denied.lst").write_text("192.0.2.0/24\n127.0.0.9\n")
        self.client = parts.pki.leaf("client", "p256", ["client.test"])
        self.text = (CONFIGS / name).read_text()
        ends_tls = "passthrough" in name or "preread" in name
        self.backends = {which: parts.backend(self.says(which, cn if ends_tls else None), where="tcp")
                         for which, cn in (("one", "a.test"), ("two", "b.test"))}

    def put(self, name, content):
        (self.directory / name).write_bytes(content)
        (self.directory / name).chmod(0o600)

    def says(self, which, ends_tls_as=None):
        """Answers a line with its name and with what came before the line."""
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if ends_tls_as:
            ctx.load_cert_chain(self.directory / (ends_tls_as + ".crt"), self.directory / (ends_tls_as + ".key"))

        def serve(connection):
            got = b""
            if ends_tls_as:
                try:
                    connection = ctx.wrap_socket(connection, server_side=True)
                except (ssl.SSLError, OSError):  # a probe
                    return
            while not got.endswith(b"\n") or got.startswith(b"PROXY ") and got.count(b"\n") < 2:
                more = connection.recv(4096)
                if not more:
                    return
                got += more
            before = "v2" if got.startswith(b"\r\n\r\n\0\r\nQUIT\n") else "v1" if got.startswith(b"PROXY ") else "none"
            connection.sendall(f"{which} {before}\n".encode())
            connection.close()
        return serve

    def filled(self, port):
        words = {"DIR": self.directory, "PORT": port, "USER": "nobody", "GROUP": "nogroup", "NGINX_STREAM": NGINX_STREAM,
                 "ONE": self.backends["one"].port, "TWO": self.backends["two"].port}
        return re.sub("@([A-Z_]+)@", lambda m: str(words[m[1]]), self.text)

    def write(self, port):
        file = self.directory / f"{port}.conf"
        file.write_text(self.filled(port))
        return file

    def converted(self, port):
        """The configuration with a place for what it keeps."""
        _, out, _ = command("convert", format_of(self.name), self.write(port))
        top = f'state_dir = "{self.directory}/state"\nuser = "{"nobody" if os.geteuid() == 0 else ""}"\n'
        out = re.sub(r'(?m)^(user|target) = .*\n', "", out)
        out = re.sub(r"(?m)^\[log\]\n", "", out)
        if os.geteuid() != 0:
            top = top.splitlines()[0] + "\n"
        head, brackets, rest = out.partition("\n[")
        return top + head + "\n[log]\nformat = \"json\"\n[admin]\nsocket = \"\"\n" + brackets + rest


@pytest.fixture
def site(parts, directory, request):
    return Site(parts, directory, request.param)


ALL = sorted(f.name for f in CONFIGS.iterdir())
# What the origin of a configuration does not do alone, or needs and a test machine lacks.
NOT_BESIDE = {"nginx-part.conf": "a part of a file", "haproxy-access.cfg": "addresses of the client", "hitch-frontends.conf": "two ports", "stunnel-services.conf": "two ports"}


@pytest.mark.parametrize("site", ALL, indirect=True)
def test_passes_check(site, directory):
    status, out, err = command("convert", format_of(site.name), site.write(free_port()))
    lost = [line for line in err.splitlines() if ": not taken: " in line]
    assert status == (1 if lost else 0), err
    assert out.startswith("# Converted from ")
    for line in err.splitlines():
        assert f"# {line}\n" in out
        assert re.match(rf"{re.escape(str(site.directory))}/\d+\.conf:\d+: not (taken|needed): ", line), line
    wanted = re.findall(r"(?m)# lost: (.*)$", site.text)
    assert len(lost) == len(wanted) and all(any(w in line for line in lost) for w in wanted), err
    file = directory / "tls-off.toml"
    file.write_text(out)
    passes_check(file)


def starts(site, port, file):
    kind = kind_of(site.name)
    program = shutil.which(PROGRAMS[kind], path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not program:
        pytest.skip(f"no {kind} here")
    arguments = {"hitch": ["--config=" + str(file)], "stunnel": [str(file)], "haproxy": ["-db", "-f", str(file)],
                 "nginx": ["-p", str(site.directory), "-c", str(file), "-e", "stderr"]}[kind]
    process = subprocess.Popen([program, *arguments], cwd=site.directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)

    def listens():
        assert process.poll() is None, process.stderr.read()
        try:
            tcp(port).close()
            return True
        except OSError:
            return False
    until(listens, f"{kind} listens")
    return process


def answer(site, port, name, version=None, alpn=None, certificate=False, source=None):
    """What a client sees: (certificate's names, protocol, what the application said), or that it was refused."""
    ctx = context(version=version, alpn=alpn)
    if certificate:
        ctx.load_cert_chain(site.client["cert"], site.client["key"])
    try:
        with tcp(port, source=source) as s, ctx.wrap_socket(s, server_hostname=name) as c:
            c.settimeout(DEADLINE)
            c.sendall(b"who\n")
            said = c.recv(100).decode()
            return (site.parts_name(c), c.selected_alpn_protocol(), said) if said else "refused"
    except (ssl.SSLError, ConnectionError):
        return "refused"


def served_name(self, c):
    text = ssl.DER_cert_to_PEM_cert(c.getpeercert(binary_form=True))
    return next(cn for cn in ("a.test", "b.test") if text.strip() in (self.directory / (cn + ".crt")).read_text())


Site.parts_name = served_name

CLIENTS = [{"name": "a.test"}, {"name": "b.test"}, {"name": "B.test"}, {"name": "a.test", "version": V12}, {"name": "other.test"},
           {"name": None}, {"name": "x.a.test"}, {"name": "a.test", "alpn": ["h2", "http/1.1"]}, {"name": "a.test", "alpn": ["unknown"]},
           {"name": "b.test", "alpn": ["http/1.1"]}, {"name": "a.test", "certificate": True}, {"name": "b.test", "certificate": True}]


@pytest.mark.parametrize("site", [name for name in ALL if name not in NOT_BESIDE], indirect=True)
def test_serves_as_its_origin(site, parts, directory):
    port = free_port()
    origin = starts(site, port, site.write(port))
    ours = free_port()
    p = Proxy(directory / "converted", site.converted(ours))
    try:
        p.start()
        differing = re.findall(r"(?m)# differs: (.*)$", site.text)
        for client in CLIENTS:
            theirs, here = answer(site, port, **client), answer(site, ours, **client)
            if str(client) not in differing:
                assert here == theirs, client
            else:
                assert here != theirs, f"does not differ: {client}"
    finally:
        p.stop()
        if origin.poll() is None:
            os.killpg(origin.pid, 15)
        origin.wait(DEADLINE)
        origin.stderr.close()


@pytest.mark.parametrize("site", ["haproxy-access.cfg"], indirect=True)
def test_access_lists_are_taken(site, directory):
    port = free_port()
    p = Proxy(directory / "converted", site.converted(port)).start()
    try:
        assert answer(site, port, "a.test", source="127.0.0.2") == ("a.test", None, "one none\n")
        for denied in ("127.0.0.9", "127.0.0.66"):
            assert answer(site, port, "a.test", source=denied) == "refused"
    finally:
        p.stop()


DEBIAN = pathlib.Path("/usr/share/doc")
# Of Debian's packages: what is no comment, or what becomes of it when the commented services are there; (services, lines not taken).
EXAMPLES = [
    ("hitch", DEBIAN / "hitch/examples/hitch.conf.example", None, ["hitch"], ["no certificate"]),
    ("stunnel", DEBIAN / "stunnel4/examples/stunnel.conf-sample", None, [], ["client = yes", "CApath"]),
    ("stunnel", DEBIAN / "stunnel4/examples/stunnel.conf-sample", r"(?s)\[pop3s\].*", ["pop3s", "imaps", "ssmtp", "https", "mysql"],
     ["[shell]", "exec", "execArgs", "PSKsecrets"]),
    ("haproxy", pathlib.Path("/etc/haproxy/haproxy.cfg"), None, [], []),
    *(("haproxy", DEBIAN / "haproxy/examples" / name, None, [], ["mode http", "neither TLS", "filter spoe", "no \"connect\""])
      for name in ("basic-config-edge.cfg", "content-sw-sample.cfg", "quick-test.cfg", "transparent_proxy.cfg")),
    ("nginx-stream", pathlib.Path("/etc/nginx/nginx.conf"), None, [], []),
]


@pytest.mark.parametrize("format, file, part, services, lost", EXAMPLES, ids=lambda v: v.name if isinstance(v, pathlib.Path) else None)
def test_examples_of_debian(directory, parts, format, file, part, services, lost):
    if not file.exists():
        pytest.skip(f"no {file} here")
    text = file.read_text()
    if part:  # the services that are comments there
        text = re.sub(r"(?m)^;(?=[\[a-zA-Z]+)", "", re.search(part, text)[0])
        text = re.sub(r"(?m)^(?![\[;]|\w+ *=).*$", "", text)
        pem = directory / "stunnel.pem"
        entry = parts.pki.leaf("a.test", "p256", ["a.test"])
        pem.write_bytes(open(entry["key"], "rb").read() + open(entry["cert"], "rb").read())
        pem.chmod(0o600)
        text = text.replace("/etc/stunnel/stunnel.pem", str(pem))
    origin = directory / "origin"
    origin.write_text(text)
    status, out, err = command("convert", format, origin)
    missing = [line for line in err.splitlines() if ": not taken: " in line]
    assert status == (0 if services and not missing else 1), err
    assert all(any(w in line for w in lost) for line in missing), err
    assert re.findall(r"(?m)^\[service\.([^.\]]+)\]", out) == services
    if services:
        (directory / "tls-off.toml").write_text(out)
        passes_check(directory / "tls-off.toml")
    else:
        assert "found nothing that accepts TLS" in err


@pytest.mark.parametrize("format, text, phrase", [
    ("hitch", "frontend = {\n  host = \"*\"\n", 'line 1: expected "}" at the end of this block'),
    ("hitch", "frontend\n", 'line 1: expected "key = value"'),
    ("hitch", "backend = \"[::1]:80\n", "line 1: found a quotation that does not end"),
    ("stunnel", "[a]\nnonsense\n", 'line 2: found "nonsense", expected "option = value" or "[service]"'),
    ("haproxy", "bind :443\n", 'line 1: found "bind", expected a section'),
    ("haproxy", "frontend a\n  bind 'x\n", "line 2: found a quotation that does not end"),
    ("nginx-stream", "stream {\n  server {\n  listen 1;\n", 'line 2: expected "}" at the end of this block'),
    ("nginx-stream", "stream { server { listen 443 } }", 'line 1: expected ";" or "{"'),
    ("nginx-stream", "}", "line 1: expected a directive"),
    ("nginx-stream", "a {" * 40, "expected fewer blocks within blocks"),
    *((format, "\0", "found a NUL byte") for format in ("hitch", "haproxy", "nginx-stream")),
    *((format, "", "found nothing that accepts TLS") for format in ("stunnel", "haproxy", "nginx-stream")),
])
def test_what_is_no_such_file(directory, format, text, phrase):
    file = directory / "file"
    file.write_text(text)
    status, out, err = command("convert", format, file)
    assert status == 1 and not out and phrase in err, err


@pytest.mark.parametrize("format", ["hitch", "stunnel", "haproxy", "nginx-stream"])
def test_files_cut_anywhere_crash_nothing(directory, format):
    names = [name for name in ALL if format_of(name) == format]
    file = directory / "file"
    text = (CONFIGS / names[0]).read_text()
    for n in range(0, len(text), max(1, len(text) // 60)):
        file.write_text(text[:n])
        status, _, err = command("convert", format, file)
        assert status in (0, 1), err


DIRECTORIES = {"hitch": 'frontend = "[127.0.0.1]:@PORT@"\nbackend = "[127.0.0.1]:@ONE@"\npem-dir = "@DIR@/kept"\n',
               "haproxy": "listen all\nmode tcp\nbind 127.0.0.1:@PORT@ ssl crt @DIR@/kept\nserver one 127.0.0.1:@ONE@\n"}


@pytest.mark.parametrize("format", DIRECTORIES)
@pytest.mark.parametrize("odd", ["b.test", "b.test.bundle", "b.test.pem.ecdsa", "b.crt"])
def test_directories_whose_files_have_other_names(parts, directory, format, odd):
    """Each file there is a certificate elsewhere; here those of certain names are."""
    site = Site(parts, directory, format + ("-tls.cfg" if format == "haproxy" else "-minimal.conf"))
    site.text = DIRECTORIES[format]
    kept = site.directory / "kept"
    kept.mkdir()
    shutil.copy(site.directory / "a.test.pem", kept)
    shutil.copy(site.directory / "b.test.pem", kept / odd)
    ours = free_port()
    status, out, err = command("convert", format, site.write(ours))
    assert status == 0 and f"since {odd} is not called" in err, err
    p = Proxy(directory / "converted", site.converted(ours))
    try:
        p.start()
        assert [answer(site, ours, name)[0] for name in ("b.test", "a.test", None)] == ["b.test", "a.test", "a.test"]
    finally:
        p.stop()


def test_a_certificate_for_each_kind_of_key(site_of_haproxy):
    """`crt FILE` of HAProxy, where there are FILE.rsa and FILE.ecdsa."""
    site, directory = site_of_haproxy
    site.text = DIRECTORIES["haproxy"].replace("/kept", "/b.pem")
    shutil.copy(site.directory / "b.test.pem", site.directory / "b.pem.ecdsa")
    status, out, err = command("convert", "haproxy", site.write(free_port()))
    assert status == 0 and "b.pem.ecdsa" in out and "b.pem\"" not in out, out
    file = directory / "tls-off.toml"
    file.write_text(out)
    passes_check(file)


@pytest.fixture
def site_of_haproxy(parts, directory):
    return Site(parts, directory, "haproxy-tls.cfg"), directory


def test_usage(directory):
    for wrong in ([], ["hitch"], ["apache", "x"], ["hitch", "a", "b"], ["hitch", "--x"]):
        status, out, err = command("convert", *wrong)
        assert status == 2 and not out and err.startswith("tls-off convert: ") and "\nusage: tls-off convert" in err
    status, _, err = command("convert", "hitch", directory / "none")
    assert status == 1 and "No such file" in err
    (directory / "large").write_bytes(b"#" * (1 << 20) + b"#")
    status, _, err = command("convert", "hitch", directory / "large")
    assert status == 1 and "more than 1 MiB" in err
