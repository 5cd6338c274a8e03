"""Secrets of a session end with it: nothing of them is in any process of the proxy that has no private keys."""
import os

import pytest
from cryptography.hazmat.primitives import hashes

from support import memory
from support.clients import V12, V13, connect, context, says_echo
from support.proxy import SANITIZED
from support.raw import expand_label
from support.waiting import until

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="reading other processes' memory needs root"),
              pytest.mark.skipif(SANITIZED, reason="a sanitizer's shadow memory is terabytes, and it keeps what was freed")]


def secrets_of(file, hash_, key_len):
    """From a key log: each secret by its label, and in TLS 1.3 the key that follows from it (RFC 8446 7.3)."""
    found = {}
    for line in file.read_text().splitlines():
        label, _, secret = line.split(" ") if not line.startswith("#") else ("", "", "")
        if label:
            found[label] = bytes.fromhex(secret)
        if label.endswith(("_TRAFFIC_SECRET_0", "_HANDSHAKE_TRAFFIC_SECRET")):
            found["key of " + label] = expand_label(hash_, bytes.fromhex(secret), b"key", key_len)
    return found


@pytest.mark.parametrize("engine", ["auto", "libcrypto"])
@pytest.mark.parametrize("version, handshake", [(V13, "auto"), (V13, "libssl"), (V12, "auto")], ids=["1.3", "1.3 by libssl", "1.2"])
def test_no_secret_of_a_session_outlives_it(parts, version, handshake, engine):
    p = parts.proxy(parts.backend(), top={"workers": 1, "handshake": handshake, "engine": engine})
    log = parts.directory / "keys.log"
    ctx = context(version=version)
    ctx.keylog_filename = str(log)
    relay, handshaker = p.roles()["relay"][0], p.roles()["handshaker"][0]
    with connect(p.port, ctx) as c:
        says_echo(c)
        suite, _, bits = c.cipher()
        needles = secrets_of(log, hashes.SHA384() if "SHA384" in suite else hashes.SHA256(), bits // 8)
        assert len(needles) >= (8 if version == V13 else 1)
        if version == V13:
            assert memory.search(relay, needles)[0], "else this test looks in the wrong way"
        c.unwrap()
    p.wait_session()

    def left():
        return {pid: found for pid in (relay, handshaker) for found in [memory.search(pid, needles)[0]] if found}

    until(lambda: not left(), lambda: f"the end of all secrets: {left()} (relay {relay}, handshaker {handshaker})", every=0.5)
