"""The key log: named clients alone, for a time, and what tshark makes of a recording with it."""
import datetime
import os
import socket
import struct
import threading

import pytest

from support import clients, proxy_header
from support.clients import V12, V13, connect, says_echo
from support.proxy import command
from support.waiting import until, whole_lines
from test_reload import rewrite

LABELS13 = {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0",
            "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"}
SECRET_WORDS = b"only the key log can open these words"


def hence(**time):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def keylog(clients=("127.0.0.2/32",), file="keys.log", until=None):
    return {"debug": {"keylog": {"file": file, "clients": list(clients), "until": until or hence(hours=1)}}}


def file_of(p, name="keys.log"):
    return p.directory / "state" / name


def lines_of(p):
    return whole_lines(file_of(p).read_text())


def talk(p, source, version=V13, data=b"hello", port=None):
    with connect(port or p.port, clients.context(version=version), source=source) as c:
        says_echo(c, data)
        c.unwrap()


def is_on(p):
    return [line for line in p.admin.json("/status.json")["degraded"] if "key log is on" in line]


@pytest.mark.parametrize("handshake", ["auto", "libssl"])
def test_named_clients_alone(parts, handshake):
    p = parts.proxy(parts.backend(), top={"handshake": handshake, **keylog(["127.0.0.2", "127.0.1.0/24"])})
    p.wait_event("log", level="warning", message=lambda m: "the key log is on" in m and str(file_of(p)) in m)
    assert os.stat(file_of(p)).st_mode & 0o7777 == 0o600
    talk(p, "127.0.0.1")
    talk(p, "127.0.0.3", V12)
    p.wait_session(count=2)
    assert lines_of(p) == [], "nobody asked for these"
    talk(p, "127.0.1.77")
    assert {line.split()[0] for line in lines_of(p)} == LABELS13
    talk(p, "127.0.0.2", V12)
    assert lines_of(p)[-1].split()[0] == "CLIENT_RANDOM" and len(lines_of(p)) == 6
    assert len(is_on(p)) == 1
    metrics = p.admin.ask("/metrics").text
    assert 'tls_off_process_key_log{role="handshaker",index="0"} 1' in metrics, metrics
    until(lambda: 'tls_off_process_key_log_lines_total{role="handshaker",index="0"} 6' in p.admin.ask("/metrics").text, "six lines are counted")


def test_the_client_of_a_proxy_header_counts(parts):
    p = parts.proxy(parts.backend(), top=keylog(["192.0.2.7"]), proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]})
    for number, client in enumerate(["192.0.2.8", "192.0.2.7"]):
        s = clients.tcp(p.port)
        s.sendall(f"PROXY TCP4 {client} 192.0.2.1 1000 443\r\n".encode())
        with clients.context(version=V13).wrap_socket(s, server_hostname="localhost") as c:
            says_echo(c)
        assert len(lines_of(p)) == (5 if client == "192.0.2.7" else 0), number


class Recorder:
    """Between a client and the proxy: passes bytes on, and keeps them in their order, to be written as a capture."""

    def __init__(self, port, source):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.target, self.source = self.listener.getsockname()[1], port, source
        self.pieces = []  # (from the client, bytes)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client, _ = self.listener.accept()
        with client, clients.tcp(self.target, source=self.source) as proxy:
            back = threading.Thread(target=self._copy, args=(proxy, client, False), daemon=True)
            back.start()
            self._copy(client, proxy, True)
            back.join()

    def _copy(self, source, sink, is_client):
        while data := source.recv(65536):
            self.pieces.append((is_client, data))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def write(self, path):
        """A capture of raw IPv4 (LINKTYPE_RAW): a connection from port 40000 to 443 with these bytes."""
        self.thread.join(20)
        self.listener.close()
        packets, seq = [], {True: 1000, False: 5000}

        def packet(is_client, flags, data=b""):
            ports = (40000, 443) if is_client else (443, 40000)
            ack = seq[not is_client]
            tcp = struct.pack("!HHIIBBHHH", *ports, seq[is_client], ack, 5 << 4, flags, 65535, 0, 0) + data
            a, b = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), len(packets), 0, 64, 6, 0, *((a, b) if is_client else (b, a)))
            packets.append(ip + tcp)
            seq[is_client] += len(data) + (1 if flags & 3 else 0)

        packet(True, 2)
        packet(False, 0x12)
        packet(True, 0x10)
        for is_client, data in self.pieces:
            for at in range(0, len(data), 1400):
                packet(is_client, 0x18, data[at:at + 1400])
        packet(True, 0x11)
        packet(False, 0x11)
        with open(path, "wb") as f:
            f.write(struct.pack("!IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, 101))
            for i, data in enumerate(packets):
                f.write(struct.pack("!IIII", i, 0, len(data), len(data)) + data)


def decrypted(capture, keys):
    """What tshark reads of both directions, as one text."""
    out = clients.run("tshark", "-r", str(capture), "-o", f"tls.keylog_file:{keys}", "-o", "tcp.check_checksum:false",
                      "-d", "tcp.port==443,tls", "-q", "-z", "follow,tls,raw,0", deadline=120)
    return bytes.fromhex("".join(line.strip() for line in out.splitlines() if line.strip() and set(line.strip()) <= set("0123456789abcdef")))


@pytest.mark.parametrize("handshake,version", [("auto", V13), ("libssl", V13), ("libssl", V12)])
def test_tshark_decrypts_a_recording(parts, directory, handshake, version):
    p = parts.proxy(parts.backend(), top={"handshake": handshake, **keylog()})
    recorder = Recorder(p.port, "127.0.0.2")
    talk(p, None, version, SECRET_WORDS, port=recorder.port)
    capture = directory / "capture.pcap"
    recorder.write(capture)
    assert decrypted(capture, file_of(p)).count(SECRET_WORDS) == 2, "to the application and back"
    (directory / "empty.log").write_text("")
    assert SECRET_WORDS not in decrypted(capture, directory / "empty.log")


def test_tshark_follows_a_key_update(parts, directory):
    p = parts.proxy(parts.backend(), top=keylog())
    recorder = Recorder(p.port, "127.0.0.2")
    c = clients.s_client(recorder.port, "-tls1_3")
    c.send(b"before\n")
    c.wait_for(b"before")
    c.send(b"K\n")  # a KeyUpdate that asks for one
    c.wait_for(b"KEYUPDATE")
    c.send(SECRET_WORDS + b"\n")
    c.wait_for(SECRET_WORDS)
    c.end()
    recorder.write(directory / "capture.pcap")
    assert decrypted(directory / "capture.pcap", file_of(p)).count(SECRET_WORDS) == 2


def test_it_ends_on_its_own(parts):
    p = parts.proxy(parts.backend())
    rewrite(p, lambda table: table.update(keylog(until=hence(seconds=6))))
    assert command("reload", "--admin", p.admin_socket)[0] == 0
    talk(p, "127.0.0.2")
    assert len(lines_of(p)) == 5
    p.wait_event("log", level="warning", message=lambda m: "the key log is off" in m)
    assert not is_on(p)
    assert 'tls_off_process_key_log{role="handshaker",index="0"} 0' in p.admin.ask("/metrics").text
    handshaker = p.roles()["handshaker"][0]
    assert not [fd for fd in os.listdir(f"/proc/{handshaker}/fd") if "keys.log" in os.readlink(f"/proc/{handshaker}/fd/{fd}")]
    talk(p, "127.0.0.2")
    assert len(lines_of(p)) == 5
    status, out, err = command("reload", "--admin", p.admin_socket)
    assert status == 0, out + err
    p.wait_event("log", level="warning", message=lambda m: "debug.keylog" in m and "has ended at" in m)
    talk(p, "127.0.0.2")
    assert len(lines_of(p)) == 5


def test_over_a_reload_and_out_by_a_reload(parts):
    p = parts.proxy(parts.backend(), top=keylog())
    talk(p, "127.0.0.2")
    assert command("reload", "--admin", p.admin_socket)[0] == 0
    talk(p, "127.0.0.2")
    assert len(lines_of(p)) == 10 and is_on(p)
    os.kill(p.roles()["handshaker"][0], 9)
    p.allow_killed_roles = True
    p.wait_text(r"handshaker\.0 .*killed by signal 9")
    talk(p, "127.0.0.2")
    assert len(lines_of(p)) == 15, "its successor has the file, too"
    rewrite(p, lambda table: table.pop("debug"))
    assert command("reload", "--admin", p.admin_socket)[0] == 0
    until(lambda: not is_on(p), "it is off")
    talk(p, "127.0.0.2")
    assert len(lines_of(p)) == 15


def test_what_may_not_be_the_file(parts):
    p = parts.proxy(parts.backend())
    state = p.directory / "state"
    state.mkdir(exist_ok=True)
    (state / "open.log").touch(0o644)
    (state / "open.log").chmod(0o644)
    (state / "target").touch(0o600)
    (state / "link.log").symlink_to(state / "target")
    os.link(state / "target", state / "second.log")
    os.mkfifo(state / "fifo.log", 0o600)
    with open(state / "full.log", "wb") as f:
        f.truncate(64 << 20)
    (state / "full.log").chmod(0o600)
    cases = {"open.log": "found mode 0644, expected 0600", "link.log": "found a symbolic link", "second.log": "found 2 names",
             "fifo.log": "found no regular file", "full.log": "expected fewer than"}
    for name, words in cases.items():
        rewrite(p, lambda table: table.update(keylog(file=name)))
        status, out, err = command("check", p.config_file)
        assert status == 1 and words in out + err, (name, out + err)
        status, out, err = command("reload", "--admin", p.admin_socket)
        assert status == 1 and words in out + err, (name, out + err)
    assert (state / "target").read_bytes() == b""


@pytest.mark.parametrize("change,words", [
    ({"until": None}, 'found no "until"'), ({"clients": None}, 'found no "clients"'), ({"file": None}, 'found no "file"'),
    ({"until": hence(hours=25)}, "at most 24 hours ahead"), ({"until": "tomorrow"}, "expected a time like"),
    ({"until": 5}, "expected a time in quotes"), ({"clients": []}, "found 0 clients"), ({"clients": ["0.0.0.0/0"]}, "not everybody"),
    ({"clients": ["10.0.0.1/8"]}, "10.0.0.1/8"), ({"file": "../keys.log"}, "expected a name"), ({"file": "/etc/passwd"}, "expected a name"),
    ({"file": ".."}, "expected a name"), ({"colour": "red"}, 'unknown key')])
def test_three_guards(parts, change, words):
    table = keylog()
    entry = table["debug"]["keylog"]
    for key, value in change.items():
        entry.pop(key, None)
        if value is not None:
            entry[key] = value
    p = parts.prepare(parts.backend(), top=table)
    status, out, err = command("check", p.config_file)
    assert status == 1 and words in out + err and "debug.keylog" in out + err, out + err


def test_check_says_so(parts):
    p = parts.prepare(parts.backend(), top=keylog())
    status, out, err = command("check", p.config_file)
    assert status == 0 and "can decrypt what was recorded" in out + err
    assert not file_of(p).exists()


def test_a_full_file_ends_it(parts):
    p = parts.proxy(parts.backend(), top=keylog())
    talk(p, "127.0.0.2")
    os.truncate(file_of(p), (64 << 20) - 200)
    talk(p, "127.0.0.2")
    p.wait_event("log", level="warning", message=lambda m: "no more is written: it is full" in m)
    assert os.stat(file_of(p)).st_size <= 64 << 20
    talk(p, "127.0.0.2", V12)
    until(lambda: not is_on(p), "it is off")
