"""Applications of other people's making, unchanged, behind tls-off and in front of it."""
import asyncio
import os
import re
import subprocess
import threading

import websockets

from support import clients
from support.backends import http_echo
from support.clients import context, run
from support.waiting import DEADLINE


def redis(parts):
    path = parts.directory / "redis.sock"
    server = parts.server("redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", parts.directory)
    server.wait_socket(path)
    return f"unix:{path}"


def redis_arguments(p, pki):
    return ["-h", "127.0.0.1", "-p", p.port, "--tls", "--cacert", pki.ca]


def test_redis_cli(parts, pki):
    p = parts.proxy(redis(parts))
    base = ["redis-cli", *redis_arguments(p, pki)]
    assert run(*base, "set", "key", "value").strip() == "OK"
    assert run(*base, "get", "key").strip() == "value"
    big = "v" * 1_000_000
    assert run(*base, "-x", "set", "big", data=big.encode()).strip() == "OK"
    assert run(*base, "strlen", "big").strip() == str(len(big))
    assert run(*base, "get", "big").strip() == big


def test_redis_pipe(parts, pki):
    p = parts.proxy(redis(parts))
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\nk%d\r\n$%d\r\n%d\r\n" % (len(str(i)) + 1, i, len(str(i)), i) for i in range(20_000))
    out = run("redis-cli", *redis_arguments(p, pki), "--pipe", data=commands)
    assert "errors: 0, replies: 20000" in out
    assert run("redis-cli", *redis_arguments(p, pki), "dbsize").strip() == "20000"


def test_redis_benchmark_with_pipelining(parts, pki):
    p = parts.proxy(redis(parts), top={"workers": 2})
    out = run("redis-benchmark", *redis_arguments(p, pki), "-n", "20000", "-c", "20", "-P", "16", "-d", "500", "-t", "set,get,lrange_100", "-q",
              deadline=DEADLINE * 3)
    assert len(re.findall(r"requests per second", out)) >= 3
    assert "Error" not in out


def test_websockets(parts, pki):
    path = parts.socket_path()
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    async def serve(stop):
        async with websockets.unix_serve(echo, path, max_size=None):
            started.set()
            await stop

    stop = loop.create_future()
    server = threading.Thread(target=lambda: loop.run_until_complete(serve(stop)))
    server.start()
    try:
        assert started.wait(DEADLINE)
        p = parts.proxy("unix:" + path, alpn=["http/1.1"])

        async def talk():
            async with websockets.connect(f"wss://localhost:{p.port}/", ssl=context(pki), host="127.0.0.1", max_size=None) as ws:
                for n in (0, 1, 125, 126, 65535, 65536, 3_000_000):
                    await ws.send(b"w" * n)
                    assert await ws.recv() == b"w" * n
                await ws.send("text")
                assert await ws.recv() == "text"
                await (await ws.ping())

        asyncio.run(talk())
        p.wait_session()
    finally:
        loop.call_soon_threadsafe(stop.set_result, None)
        server.join(DEADLINE)
        loop.close()
        if os.path.exists(path):
            os.unlink(path)


def test_wrk_has_no_errors(parts):
    p = parts.proxy(parts.backend(http_echo), alpn=["http/1.1"], top={"workers": 2})
    out = run("wrk", "-t1", "-c16", "-d2s", f"https://127.0.0.1:{p.port}/1000")
    assert "Socket errors" not in out and "Non-2xx" not in out, out
    assert int(re.search(r"(\d+) requests in", out).group(1)) > 10


def test_wrk_with_a_connection_a_request(parts):
    p = parts.proxy(parts.backend(http_echo), alpn=["http/1.1"], top={"workers": 2})
    out = run("wrk", "-t1", "-c8", "-d2s", "-H", "Connection: close", f"https://127.0.0.1:{p.port}/100")
    assert "Non-2xx" not in out and int(re.search(r"(\d+) requests in", out).group(1)) > 10, out
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    assert errors is None or errors.groups() == ("0", "0", "0", "0"), out


def test_gnutls_cli(parts, pki):
    p = parts.proxy(parts.backend())
    for priority in ("NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305",
                     "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP384R1"):
        c = subprocess.Popen(["gnutls-cli", "--x509cafile", str(pki.ca), "--priority", priority, "-p", str(p.port), "localhost"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = b""
        c.stdin.write(b"hello gnutls\n")
        c.stdin.flush()
        while b"\nhello gnutls\n" not in said:
            piece = c.stdout.read1(65536)
            assert piece, said.decode()
            said += piece
        c.stdin.close()
        assert c.wait(DEADLINE) == 0
        c.stdout.close()
        assert b"trusted" in said
    p.wait_session(count=4)


def test_gnutls_resumes(parts, pki):
    p = parts.proxy(parts.backend())
    c = subprocess.run(["gnutls-cli", "--x509cafile", str(pki.ca), "--resume", "--waitresumption", "-p", str(p.port), "localhost"], input=b"hi\n",
                       capture_output=True, timeout=DEADLINE)
    assert b"This is a resumed session" in c.stdout, c.stdout.decode() + c.stderr.decode()


def test_storm_of_short_sessions(parts):
    """Many short sessions, new and resumed."""
    p = parts.proxy(parts.backend(http_echo), top={"workers": 2})
    out = run("openssl", "s_time", "-connect", f"127.0.0.1:{p.port}", "-www", "/10", "-time", "2", deadline=DEADLINE, check=False)
    m = re.search(r"(\d+) connections in", out)
    assert m and int(m.group(1)) > 20, out
    with clients.connect(p.port) as c:
        c.sendall(b"GET /10 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert clients.receive(c, 12) == b"HTTP/1.1 200"
