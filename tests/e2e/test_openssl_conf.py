"""A configuration file for OpenSSL in the starter's environment changes nothing: neither what is accepted nor what is negotiated."""
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support import client_pki, pki
from support.client_pki import Issuer
from support.clients import V12, V13, connect, context, says_echo
from support.proxy import command

WEAK = """
openssl_conf = all
[all]
ssl_conf = ssl
{more}
[ssl]
system_default = weak
[weak]
CipherString = DEFAULT:@SECLEVEL=0
{policy}
"""
FILES = {
    "security level 0": WEAK.format(more="", policy=""),
    "other versions": WEAK.format(more="", policy="MinProtocol = TLSv1.3"),
    "old versions": WEAK.format(more="", policy="MaxProtocol = TLSv1.2\nMinProtocol = TLSv1"),
    "other groups": WEAK.format(more="", policy="Groups = P-521"),
    "other options": WEAK.format(more="", policy="Options = UnsafeLegacyRenegotiation,-SessionTicket\nVerifyMode = Peer"),
    "a provider alone": WEAK.format(more="providers = p\n[p]\nnull = n\n[n]\nactivate = 1", policy=""),
    "a provider that is not there": WEAK.format(more="providers = p\n[p]\nx = x\n[x]\nmodule = /nowhere/x.so\nactivate = 1", policy=""),
    "an engine that is not there": WEAK.format(
        more="engines = e\n[e]\nx = x\n[x]\nengine_id = x\ndynamic_path = /nowhere/x.so\ninit = 1", policy=""),
    "no configuration": "=== nonsense [",
}


@pytest.fixture(params=FILES)
def environment(request, directory):
    file = directory / "openssl.cnf"
    file.write_text("config_diagnostics = 1\n" + FILES[request.param])
    return {"OPENSSL_CONF": str(file)}


@pytest.fixture
def weak(monkeypatch):
    """Keys of 1024 bits: what the security level stands for."""
    for module in (pki, client_pki):
        real = module.new_key
        monkeypatch.setattr(module, "new_key", lambda kind, real=real: rsa.generate_private_key(65537, 1024) if kind == "weak" else real(kind))


def test_policy_is_ours(parts, environment, weak):
    ca = Issuer(parts.directory, "clients authority")
    p = parts.proxy(parts.backend(), client_auth={"mode": "required", "ca": str(ca.file)}, environment=environment)
    status, out, err = command("check", p.config_file, environment=environment)
    assert status == 0, out + err

    def shows(client, version):
        c = context(version=version, ciphers="DEFAULT:@SECLEVEL=0")
        c.load_cert_chain(client.cert, client.key)
        return c

    robot, small = ca.client("robot"), ca.client("small", kind="weak")
    for n, version in enumerate((V12, V13), 1):
        with connect(p.port, shows(robot, version)) as c:
            says_echo(c)
        with pytest.raises(OSError):
            with connect(p.port, shows(small, version)) as c:
                says_echo(c)
        p.wait_failure("client_cert_weak", count=n)
        said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{p.port}", "-tls1_3" if version == V13 else "-tls1_2", "-groups", "X25519",
                               "-cert", robot.cert, "-key", robot.key], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
        assert "X25519, 253 bits" in said and "BEGIN CERTIFICATE" in said


def test_a_weak_certificate_is_refused_as_ever(parts, environment, weak, pki):
    entry = pki.leaf("weak", "weak", ["localhost"])
    p = parts.prepare(parts.backend(), certificates=[entry])
    status, out, err = command("check", p.config_file, environment=environment)
    assert status == 1 and "found an RSA key of 1024 bits" in out + err
