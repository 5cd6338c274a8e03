"""Configurations of other proxies with a line that keeps clients out and has no counterpart: `tls-off convert` leaves its service out, names the
line, and writes the service beside it; without the line it writes both."""
import re

import pytest

from support.clients import free_port
from support.proxy import command, passes_check

ONE, TWO, THREE = (f'"tcp:127.0.0.1:{port}"' for port in (8001, 8002, 8003))  # as backends; ports and names of files can have the same digits

TEMPLATES = {
    "haproxy": """@DEFAULTS@
frontend in
    mode tcp
    bind 127.0.0.1:@PORT@ ssl crt a.test.pem @BIND@
    @FRONT@
    default_backend one
frontend open
    mode tcp
    bind 127.0.0.1:@OTHER@ ssl crt a.test.pem
    default_backend two
backend one
    @BACK@
    server s 127.0.0.1:8001
backend two
    server s 127.0.0.1:8002
backend none
""",
    "passthrough": """frontend in
    mode tcp
    bind 127.0.0.1:@PORT@
    use_backend www if { req.ssl_sni -i www.test }
    @FRONT@
    default_backend one
backend www
    server s 127.0.0.1:8002
backend one
    server s 127.0.0.1:8001
backend admin
    tcp-request content reject unless { src -f allow.lst }
    server s 127.0.0.1:8003
backend none
""",
    "stunnel": """cert = a.test.pem
@DEFAULTS@
[in]
accept = 127.0.0.1:@PORT@
connect = 8001
CAfile = ca.pem
@FRONT@
[open]
accept = 127.0.0.1:@OTHER@
connect = 8002
""",
    "nginx-stream": """stream {
    ssl_certificate a.test.crt;
    ssl_certificate_key a.test.key;
    ssl_client_certificate ca.pem;
    map $ssl_server_name $app {
        default 127.0.0.1:8001;
        @MAP@
    }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        proxy_pass $app;
        @FRONT@
    }
    server {
        listen 127.0.0.1:@OTHER@ ssl;
        proxy_pass 127.0.0.1:8002;
    }
    @DEFAULTS@
}
""",
    "hitch": """pem-file = "a.test.pem"
backend = "[127.0.0.1]:8001"
frontend = { host = "127.0.0.1" port = "@OTHER@" }
frontend = {
    host = "127.0.0.1"
    port = "@PORT@"
    tls-protos = TLSv1.3
    @FRONT@
}
""",
}
FILES = {"allow.lst": "10.0.0.0/8\n", "bad.lst": "# of today\n10.0.0.0/8 \n\n2001:db8::1\n", "masks.lst": "192.0.2.0/24\n10.1.2.3/8\n", "mtls.list": "a.test.pem [ca-file ca.pem verify required] a.test\n",
         "names.list": "a.test.pem www.a.test\n", "some.list": "b.test.pem [alpn h2] !www.b.test\n",
         "crl.list": "b.test.pem\na.test.pem [alpn h2 crl-file crl.pem]\n"}
FILES |= {"tail.list": "10.0.0.0/8 all\n", "big.list": "10.0.0.0/8\n" + "#" * (1 << 20), "many.list": "".join(f"n{i}.test\n" for i in range(5000))}
REJECT, CONTENT = "tcp-request connection reject ", "tcp-request content "
NETWORKS = " ".join(f"10.{i // 256}.{i % 256}.1" for i in range(1030))

# (template, place, lines): the service "in" is omitted, the one beside it is not.
LEFT_OUT = [
    ("haproxy", "FRONT", REJECT + "if !{ src -f allow.lst }"),
    ("haproxy", "FRONT", REJECT + "unless { src -f allow.lst }"),
    ("haproxy", "FRONT", "acl ours src -f allow.lst\n" + REJECT + "if !ours"),
    ("haproxy", "FRONT", REJECT + "if { src_conn_rate gt 10 }"),
    ("haproxy", "FRONT", REJECT + "if { src 10.0.0.0/8 } { src_port 1 }"),
    ("haproxy", "FRONT", REJECT + "if { src 10.0.0.0/8 } or { src_port 1 }"),
    ("haproxy", "FRONT", REJECT + "unless { src 10.0.0.0/8 } or { src 192.168.1.1 }"),
    ("haproxy", "FRONT", REJECT + "unless { src 10.0.0.0/8 }\n" + REJECT + "unless { src 10.1.0.0/16 }"),
    ("haproxy", "FRONT", REJECT + "if !{ src }"),
    ("haproxy", "FRONT", REJECT + "if { src no-address }"),
    ("haproxy", "FRONT", REJECT + "if { src " + NETWORKS + " }"),
    ("haproxy", "FRONT", REJECT + "if undefined"),
    ("haproxy", "FRONT", CONTENT + "accept if { req_ssl_hello_type 2 }\n" + CONTENT + "reject if !{ src -f allow.lst }"),
    ("haproxy", "FRONT", CONTENT + "reject if { req_ssl_hello_type 2 }"),
    ("haproxy", "FRONT", CONTENT + "silent-drop if { src 10.0.0.0/8 }"),
    ("haproxy", "FRONT", "tcp-request session lua.check"),
    ("haproxy", "FRONT", "tcp-request connection set-src hdr_ip(x)\n" + REJECT + "if { src 10.0.0.0/8 }"),
    ("haproxy", "FRONT", REJECT + "if { src -f masks.lst }"),
    ("haproxy", "FRONT", "disabled"),
    ("haproxy", "BACK", CONTENT + "reject if !{ src -f allow.lst }"),
    ("haproxy", "BACK", "disabled"),
    ("haproxy", "BACK", "mode http\nhttp-request deny if { path_beg /admin }"),
    ("haproxy", "BACK", "http-request deny if !{ src 10.0.0.0/8 }\nmode http"),
    ("haproxy", "FRONT", CONTENT + "switch-mode http\nhttp-request deny if { path_beg /admin }"),
    ("haproxy", "FRONT", REJECT + "if { src -f tail.list }"),
    ("haproxy", "FRONT", REJECT + "if { src -f big.list }"),
    ("haproxy", "FRONT", REJECT + "if { src -f absent }"),
    # a PROXY header names another client than the connection has
    ("haproxy", "FRONT", "tcp-request connection expect-proxy layer4 if { src 10.0.0.0/8 }"),
    ("haproxy", "FRONT", "tcp-request connection expect-netscaler-cip layer4"),
    ("haproxy", "FRONT", "tcp-request connection expect-proxy layer4\n" + REJECT + "if { src 10.0.0.0/8 }"),
    ("haproxy", "BIND", "accept-proxy\n" + REJECT + "unless { src 10.0.0.0/8 }"),
    ("haproxy", "BIND", "accept-netscaler-cip 7"),
    ("haproxy", "BIND", "crt-list mtls.list"),
    ("haproxy", "BIND", "crt-list crl.list"),
    ("haproxy", "BIND", "crt-list none.list"),
    ("haproxy", "BIND", "namespace inner"),
    ("haproxy", "BIND", "some-new-check"),
    ("haproxy", "FRONT", "use_backend none if { ssl_fc_sni -m reg ^admin }"),
    # lists that would mean something else when the most specific entry decides, or of which more than one has to hold
    ("haproxy", "FRONT", REJECT + "if !{ src 10.0.0.0/8 }\ntcp-request connection accept if { src 192.168.1.1 }"),
    ("haproxy", "FRONT", REJECT + "if !{ src 10.0.0.0/8 }\ntcp-request connection accept if { src -f allow.lst }"),
    ("haproxy", "FRONT", REJECT + "if { src 10.0.0.0/8 }\n" + REJECT + "if !{ src 10.1.0.0/16 }"),
    ("haproxy", "FRONT", REJECT + "if !{ src 10.1.0.0/16 }\n" + REJECT + "if { src 10.0.0.0/8 }"),
    ("haproxy", "FRONT", REJECT + "if !{ src 10.1.0.0/16 }\n" + REJECT + "if { src -f bad.lst }"),
    ("haproxy", "FRONT", REJECT + "if !{ src 10.1.0.0/16 }\n" + REJECT),
    ("haproxy", "FRONT", REJECT + "if { src -f bad.lst }\ntcp-request connection accept if { src 10.1.0.0/16 }"),
    ("haproxy", "FRONT", REJECT + "if { src -f bad.lst }\n" + REJECT + "if !{ src 10.1.0.0/16 }"),
    ("haproxy", "FRONT", REJECT + "if { src 10.0.0.0/8 }\ntcp-request connection accept if { src -f allow.lst }"),
    ("haproxy", "FRONT", REJECT + "unless { src 10.0.0.0/8 }\n" + CONTENT + "reject unless { src 10.1.0.0/16 }"),
    ("haproxy", "FRONT", REJECT + "if { src 10.0.0.0/8 }\n" + CONTENT + "accept if { src 10.1.0.0/16 }\n" + CONTENT + "reject"),
    # who may come in is decided by a choice of backends or servers
    ("haproxy", "FRONT", "use_backend two unless { src 10.0.0.0/8 }"),
    ("haproxy", "FRONT", "use_backend two if !{ ssl_c_used }"),
    ("haproxy", "FRONT", "acl known ssl_c_used\nuse_backend two if { ssl_fc_sni b.test } !known"),
    ("haproxy", "FRONT", "use_backend two if { ssl_fc_sni b.test } || LOCALHOST"),
    ("haproxy", "FRONT", "use_backend %[src,map_ip(allow.lst)]"),
    ("haproxy", "FRONT", "use_backend b_%[ssl_fc_sni]_%[src]"),
    ("haproxy", "BACK", "use-server s if { src 10.0.0.0/8 }"),
    # conditions of the moment when the program starts
    ("haproxy", "FRONT", ".if defined(STRICT)\n" + REJECT + "\n.endif"),
    ("haproxy", "FRONT", ".if defined(OPEN)\nbind 127.0.0.3:@PORT@ ssl crt b.test.pem\n.else\nmaxconn 5\n.endif"),
    ("haproxy", "FRONT", ".if defined(A)\n.if defined(B)\nlog global\n.endif\ntimeout client 5s\n.endif"),
    ("haproxy", "BACK", ".if defined(STRICT)\n" + CONTENT + "reject\n.endif"),
    ("haproxy", "BIND", "ca-file ca.pem verify required crl-file ${CRL}"),
    ("haproxy", "BIND", "ca-file ca.pem verify required crl-file @crls"),
    ("haproxy", "BIND", "strict-sni crt-list names.list"),
    ("haproxy", "BIND", "crt-list some.list strict-sni"),
    ("stunnel", "FRONT", "config = VerifyMode:Require"),
    ("stunnel", "FRONT", "config = Protocol:-TLSv1.2"),
    ("stunnel", "FRONT", "[admin]\nsni = in:admin.test\nexec = /usr/bin/admin\nverifyChain = yes"),
    ("stunnel", "FRONT", "[admin]\nsni = in:*-admin.test\nconnect = 8003\nCAfile = ca.pem\nverifyChain = yes"),
    ("stunnel", "FRONT", "PSKsecrets = psk.txt\nciphers = PSK\n[all]\naccept = @PORT@\nconnect = 8001"),
    ("nginx-stream", "FRONT", "ssl_conf_command Protocol -TLSv1.2;"),
    ("stunnel", "FRONT", "verifyChain = yes\ncheckEmail = a@client.test"),
    ("stunnel", "FRONT", "checkIP = 10.0.0.1\nverify = 2"),
    ("stunnel", "FRONT", "checkHost = no host\nverify = 2"),
    ("stunnel", "FRONT", "checkHost = **.client.test\nverify = 2"),
    ("stunnel", "FRONT", "verify = 3"),
    ("stunnel", "FRONT", "verify = 4"),
    ("stunnel", "FRONT", "verify = 9"),
    ("stunnel", "FRONT", "verifyPeer = yes"),
    ("stunnel", "FRONT", "VERIFYPEER = Yes\nrequireCert = yes"),
    ("stunnel", "FRONT", "verifyChain = yes\nCRLpath = crls"),
    ("stunnel", "FRONT", "verifyChain = yes\nOCSP = http://127.0.0.1/"),
    ("stunnel", "FRONT", "verifyChain = yes\nOCSPaia = yes"),
    ("stunnel", "FRONT", "libwrap = yes"),
    ("stunnel", "FRONT", "socket = a:SO_BINDTODEVICE=lo"),
    ("stunnel", "FRONT", "libwrap = yes\n[all]\naccept = @PORT@\nconnect = 8001"),
    ("stunnel", "FRONT", "verify = 2\nOCSPaia = yes\nverifyPeer = no"),
    ("stunnel", "FRONT", "SOCKET = l:so_bindtodevice=lo"),
    ("stunnel", "FRONT", "PSKsecrets = psk.txt\nciphers = PSK"),
    ("stunnel", "FRONT", "ident = root"),
    ("stunnel", "FRONT", "include = no-such-directory"),
    ("nginx-stream", "FRONT", "deny no-address;"),
    ("nginx-stream", "FRONT", "deny unix:;"),
    ("nginx-stream", "FRONT", "\n".join(f"deny {n};" for n in NETWORKS.split())),
    ("nginx-stream", "FRONT", "js_access mod.check;"),
    ("nginx-stream", "FRONT", "limit_conn per_ip 10;"),
    ("nginx-stream", "FRONT", "preread_by_lua_file a.lua;"),
    ("nginx-stream", "FRONT", "ssl_certificate_by_lua_file a.lua;"),
    ("nginx-stream", "FRONT", "set_by_lua_file $x a.lua;"),
    ("nginx-stream", "FRONT", "preread_check on;"),
    # another service would get its clients
    ("nginx-stream", "FRONT", "js_access mod.check;\n}\nserver {\nlisten @PORT@ ssl;\nproxy_pass 127.0.0.1:8001;"),
    ("nginx-stream", "FRONT", "js_access mod.check;\n}\nserver {\nlisten [::]:@PORT@ ssl ipv6only=off;\nproxy_pass 127.0.0.1:8001;"),
    ("nginx-stream", "FRONT", "}\nserver {\nlisten 127.0.0.1:@PORT@ ssl;\nserver_name ~^admin;\ndeny 10.0.0.0/8;\nproxy_pass 127.0.0.1:8003;"),
    ("nginx-stream", "FRONT", "}\nserver {\nlisten 127.0.0.1:@PORT@ ssl;\nserver_name ~^admin;\nssl_verify_client on;\nproxy_pass 127.0.0.1:8003;"),
    ("nginx-stream", "FRONT", "include no-such-file.conf;"),
    ("nginx-stream", "FRONT", "some_new_check on;"),
    ("nginx-stream", "FRONT", "ssl_verify_client on;\nssl_ocsp on;"),
    ("nginx-stream", "FRONT", "ssl_conf_command VerifyMode Require;\nssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;"),
    ("nginx-stream", "FRONT", "ssl_verify_client $who;"),
    ("haproxy", "BIND", "ca-file ca.pem verify ${V}"),
    ("nginx-stream", "MAP", "~^admin '';"),
    ("nginx-stream", "MAP", "b.test '';"),
    ("nginx-stream", "MAP", "include no-such-part.map;"),
]

# Defaults of both: nothing is written.
OF_ALL = [
    ("haproxy", "DEFAULTS", "defaults\n    mode tcp\n    tcp-request connection reject if { src 10.0.0.0/8 }"),
    ("haproxy", "DEFAULTS", "defaults\n    disabled"),
    ("haproxy", "DEFAULTS", "defaults\n    mode tcp\n.if defined(X)\n    timeout client 5s\n.endif"),
    ("haproxy", "DEFAULTS", "global\n.if defined(X)\n    ssl-default-bind-options ssl-min-ver TLSv1.3\n.endif"),
    ("haproxy", "DEFAULTS", "defaults\n    mode tcp\n    http-request deny if { path /admin }\n    tcp-request content switch-mode http"),
    ("stunnel", "DEFAULTS", "libwrap = yes"),
    ("stunnel", "DEFAULTS", "socket = l:SO_BINDTODEVICE=lo"),
    ("stunnel", "DEFAULTS", "CAfile = ca.pem\nverify = 3"),
    ("nginx-stream", "DEFAULTS", "deny 10.0.0.0/33;"),
    ("nginx-stream", "DEFAULTS", "js_access mod.check;"),
    ("nginx-stream", "DEFAULTS", "include no-such-file.conf;"),
]

# The same words where they keep nobody out, or where a list says the same: (..., patterns of the result).
WRITTEN = [
    ("haproxy", "FRONT", "tcp-request connection accept if { src 10.0.0.0/8 }\n" + CONTENT + "reject if { src 10.1.0.0/16 }",
     [r'\ndeny = \["10\.1\.0\.0/16"\]']),
    ("haproxy", "FRONT", "tcp-request connection accept if { src 192.168.1.1 }\n" + REJECT + "if !{ src 10.0.0.0/8 }\n" + REJECT + "if { src 10.1.0.0/16 }",
     [r'\nallow = \["192\.168\.1\.1/32", "10\.0\.0\.0/8"\]', r'\ndeny = \["10\.1\.0\.0/16"\]']),
    ("haproxy", "FRONT", "tcp-request connection accept if { src 10.1.0.0/16 }\n" + REJECT + "if { src -f bad.lst }",
     [r'\nallow = \["10\.1\.0\.0/16", "0\.0\.0\.0/0", "::/0"\]', r'\ndeny = \[".*/bad\.lst"\]']),
    ("haproxy", "FRONT", "tcp-request connection accept if { src_conn_rate lt 10 }\ntcp-request connection track-sc0 src", []),
    # where TLS ends, no hello follows
    ("haproxy", "FRONT", CONTENT + "reject if !{ req_ssl_hello_type 1 }", [r'\ndeny = \["0\.0\.0\.0/0", "::/0"\]']),
    ("haproxy", "FRONT", CONTENT + "accept if { req_ssl_hello_type 1 }\n" + CONTENT + "reject unless { src 10.0.0.0/8 }", [r'\nallow = \["10\.0\.0\.0/8"\]']),
    ("haproxy", "FRONT", CONTENT + "accept if { req.ssl_sni b.test }\n" + CONTENT + "reject if { src 10.0.0.0/8 } !{ req.ssl_alpn h2 }", [r'\ndeny = \["10\.0\.0\.0/8"\]']),
    ("haproxy", "FRONT", "use_backend two if { nbsrv(one) lt 1 }\nuse_backend two unless { ssl_fc_sni b.test }", []),
    ("haproxy", "BACK", "use-server s if { ssl_fc_sni b.test }", []),
    ("haproxy", "BACK", "default-server send-proxy-v2\ndefault-server check", [r'\nsend = "v2"']),
    ("haproxy", "BIND", "crt-list names.list", []),
    ("haproxy", "DEFAULTS", "global\n    ssl-default-bind-options ssl-min-ver TLSv1.3\n    ssl-default-bind-options no-tls-tickets\nglobal\n    daemon\n"
     "defaults\n    mode tcp", [r'(?s)min_version = "1\.3".*min_version = "1\.3"']),
    ("haproxy", "DEFAULTS", ".notice hello\nglobal\n.if defined(X)\n    nbthread 4\n.endif\ndefaults\n    mode tcp", []),
    ("stunnel", "FRONT", "config = MinProtocol:TLSv1.3\nconfig = Groups:X25519", [r'min_version = "1\.3"', r'groups = \["x25519"\]']),
    ("nginx-stream", "FRONT", "ssl_protocols TLSv1.2 TLSv1.3;\nssl_conf_command MinProtocol TLSv1.3;\nssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;",
     [r'min_version = "1\.3"', '"TLS_AES_128_GCM_SHA256"']),
    ("nginx-stream", "DEFAULTS", "ssl_conf_command MinProtocol TLSv1.3;", [r'(?s)min_version = "1\.3".*min_version = "1\.3"']),
    ("haproxy", "BACK", CONTENT + "reject if { src 10.0.0.0/8 }", [r'\ndeny = \["10\.0\.0\.0/8"\]']),
    ("haproxy", "DEFAULTS", "defaults\n    disabled\n    mode tcp\n    tcp-request inspect-delay 5s\ndefaults\n    mode tcp\n    enabled", []),
    ("stunnel", "FRONT", "checkEmail = a@client.test", []),  # stunnel verifies nothing
    ("stunnel", "FRONT", "verify = 0\nOCSPaia = yes", []),
    ("stunnel", "FRONT", "verifyPeer = no\nlibwrap = no", []),
    ("stunnel", "FRONT", "verify = 2\ncheckHost = client.test", [r'allow = \["dns:client\.test"\]']),
    ("nginx-stream", "FRONT", "allow no-address;\nallow unix:;\ndeny 10.0.0.0/8;", [r'\ndeny = \["10\.0\.0\.0/8"\]']),
    ("nginx-stream", "FRONT", "ssl_ocsp on;\nproxy_bind 127.0.0.1;", []),
    ("nginx-stream", "MAP", "~^admin 127.0.0.1:8003;", []),
    ("nginx-stream", "FRONT", "ssl_verify_client on;", [r"\ndepth = 1\n"]),
    ("nginx-stream", "FRONT", "ssl_verify_client ON;", [r'\nmode = "required"']),
    ("nginx-stream", "FRONT", "ssl_verify_client OFF;", []),
    ("nginx-stream", "FRONT", "ssl_verify_client optional;", [r'\nmode = "optional"']),
    ("haproxy", "BIND", "ca-file ca.pem verify none", []),
    ("nginx-stream", "FRONT", "ssl_verify_client on;\nssl_verify_depth 3;", [r"\ndepth = 3\n"]),
    ("nginx-stream", "FRONT", "}\nserver {\nlisten 127.0.0.1:@PORT@ ssl;\nserver_name ~^admin;\nproxy_pass 127.0.0.1:8003;", []),
    ("nginx-stream", "DEFAULTS", "match probe {\nsend x;\n}\njs_engine qjs;\njs_context_reuse 10;", []),
    ("nginx-stream", "FRONT", "js_periodic mod.tick interval=5s;", []),
    ("haproxy", "FRONT", "tcp-request connection expect-proxy layer4", [r'\naccept = "required"']),
    ("haproxy", "BIND", "accept-proxy\n" + CONTENT + "reject if { src 10.0.0.0/8 }", [r'\naccept = "required"', r'\ndeny = \["10\.0\.0\.0/8"\]']),
    ("haproxy", "BIND", "no-tlsv13 force-tlsv12", []),
    ("haproxy", "BIND", "force-tlsv11 force-tlsv10 force-sslv3", []),
    ("haproxy", "BIND", "default-crt b.test.pem", [r"/b\.test\.pem"]),
    ("haproxy", "BIND", "guid-prefix in- idle-ping 10s", []),
    ("stunnel", "DEFAULTS", "libwrap = yes\nlibwrap = no", []),
    ("stunnel", "FRONT", "verify = 3\nverify = 2", [r'\nmode = "required"']),
    ("stunnel", "FRONT", "verify = 1\nverifyChain = yes", [r'\nmode = "required"']),
    ("nginx-stream", "FRONT", "preread_timeout 5s;\npreread_buffer_size 16k;\nssl_certificate_cache max=10;", []),
    ("haproxy", "FRONT", "http-request deny if { path_beg /admin }", []),  # of TCP mode HAProxy ignores it
    ("stunnel", "DEFAULTS", "socket = a:SO_BINDTODEVICE=lo", [r'\ndevice = "lo"']),
    ("stunnel", "FRONT", "socket = r:SO_BINDTODEVICE=lo\nsocket = l:TCP_NODELAY=1", []),
    ("hitch", "FRONT", 'client-verify = required\nclient-verify-ca = "ca.pem"', [r'mode = "required"', r'ca = ".*/ca\.pem"']),
]


def converted(directory, parts, template, place, lines):
    """(status, result without comments, notes, numbers of LINES, ports of "in" and the one beside it)."""
    for cn in ("a.test", "b.test"):
        entry = parts.pki.leaf(cn, "p256", [cn])
        cert, key = open(entry["cert"], "rb").read(), open(entry["key"], "rb").read()
        for name, content in ((cn + ".pem", key + cert), (cn + ".crt", cert), (cn + ".key", key)):
            (directory / name).write_bytes(content)
            (directory / name).chmod(0o600)
    (directory / "ca.pem").write_bytes(parts.pki.ca.read_bytes())
    for name, content in FILES.items():
        (directory / name).write_text(content)
    ports = {"PORT": free_port(), "OTHER": free_port()}
    first = TEMPLATES[template][:TEMPLATES[template].index(f"@{place}@")].count("\n") + 1
    text = TEMPLATES[template].replace(f"@{place}@", lines)
    text = re.sub("@([A-Z]+)@", lambda m: str(ports.get(m[1], "")), text)
    origin = directory / "origin.conf"
    origin.write_text(text)
    status, out, err = command("convert", "haproxy" if template == "passthrough" else template, origin)
    body = "\n".join(line for line in out.splitlines() if not line.startswith("#"))
    if body:
        (directory / "tls-off.toml").write_text(out)
        passes_check(directory / "tls-off.toml")
    return status, body, err, range(first, first + lines.count("\n") + 1), [f'"127.0.0.1:{ports[name]}"' for name in ("PORT", "OTHER")]


def names_a_line(err, numbers):
    """A line of the list says that a service is omitted, with the line that keeps clients out."""
    said = re.findall(r"(?m)^\S+:(\d+): not taken: service \S+ is omitted: it would let in clients that this line keeps out$", err)
    return said and all(int(line) in numbers for line in said)


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "passthrough"])
def test_without_such_a_line_both_are_written(directory, parts, template):
    status, body, err, _, ports = converted(directory, parts, template, "FRONT", "")
    assert status == 0 and all(port in body for port in ports), err + body


@pytest.mark.parametrize("template, place, lines", LEFT_OUT, ids=lambda v: v[:60])
def test_the_service_is_left_out(directory, parts, template, place, lines):
    status, body, err, numbers, ports = converted(directory, parts, template, place, lines)
    assert status == 1 and ports[0] not in body and ONE not in body, err + body
    assert ports[1] in body, err
    assert "list" in lines or "masks" in lines or "its clients are refused" in err or "by a PSK" in err or names_a_line(err, numbers), err


@pytest.mark.parametrize("template, place, lines", OF_ALL, ids=lambda v: v[:60])
def test_defaults_count_for_all(directory, parts, template, place, lines):
    status, body, err, numbers, _ = converted(directory, parts, template, place, lines)
    assert status == 1 and not body and ("its clients are refused" in err or names_a_line(err, numbers)), err + body


@pytest.mark.parametrize("template, place, lines, has", WRITTEN, ids=lambda v: v[:60] if isinstance(v, str) else "")
def test_what_keeps_the_same_clients_out_is_written(directory, parts, template, place, lines, has):
    _, body, err, _, ports = converted(directory, parts, template, place, lines)
    assert "is omitted" not in err and all(port in body for port in ports), err
    for pattern in has:
        assert re.search(pattern, body), body


def test_lines_of_named_files(directory, parts):
    for name, line in (("mtls.list", 1), ("crl.list", 2)):
        _, _, err, _, _ = converted(directory, parts, "haproxy", "BIND", f"crt-list {name}")
        assert f"{directory}/{name}:{line}: not taken: service one is omitted" in err
    _, _, err, _, _ = converted(directory, parts, "haproxy", "FRONT", REJECT + "if { src -f masks.lst }")
    assert f"{directory}/masks.lst:2: not taken: service one is omitted" in err


@pytest.mark.parametrize("lines", ["client-verify = maybe", 'client-verify = "on"\nclient-verify-ca = "ca.pem"', 'client-verify-crl = "x"', "client-verify = required"])
def test_frontends_of_hitch_that_ask_for_certificates(directory, parts, lines):
    """They share a backend with the one beside them."""
    status, body, err, numbers, ports = converted(directory, parts, "hitch", "FRONT", lines)
    assert status == 1 and ports[0] not in body and ports[1] in body, err + body
    assert names_a_line(err, numbers) or "names no file of CAs" in err, err


def test_a_list_of_a_frontend_and_one_of_its_backend(directory, parts, monkeypatch):
    both = TEMPLATES["haproxy"].replace("@FRONT@", REJECT + "unless { src 10.0.0.0/8 }")
    monkeypatch.setitem(TEMPLATES, "haproxy", both)
    status, body, err, numbers, ports = converted(directory, parts, "haproxy", "BACK", CONTENT + "reject unless { src 10.1.0.0/16 }")
    assert status == 1 and ports[0] not in body and ports[1] in body and names_a_line(err, numbers), err
    _, body, err, _, ports = converted(directory, parts, "haproxy", "BACK", "")
    assert ports[0] in body and 'allow = ["10.0.0.0/8"]' in body, err


@pytest.mark.parametrize("lines", ["use_backend admin if { req.ssl_sni -i admin.test }", "use_backend none if { req.ssl_sni -i admin.test }",
                                   "use_backend admin if { req.ssl_sni -m end .admin.test }"])
def test_names_of_a_service_that_is_left_out_reach_no_other_one(directory, parts, lines):
    _, body, err, _, _ = converted(directory, parts, "passthrough", "FRONT", lines)
    assert ONE not in body and THREE not in body and TWO in body, err + body
    _, body, err, _, _ = converted(directory, parts, "passthrough", "FRONT", "")
    assert ONE in body and TWO in body, err


@pytest.mark.parametrize("backend", ["admin", "none"])
def test_a_lost_choice_of_a_backend_that_refuses(directory, parts, backend):
    _, body, err, numbers, _ = converted(directory, parts, "passthrough", "FRONT", f"use_backend {backend} if {{ req.ssl_sni -m reg ^admin }}")
    assert not body and names_a_line(err, numbers), err + body
    _, body, err, _, _ = converted(directory, parts, "passthrough", "FRONT", "use_backend www if { req.ssl_sni -m reg ^admin }")
    assert ONE in body and "not taken" in err, err


@pytest.mark.parametrize("lines", ["use_backend admin if { req.ssl_sni -i -f absent }", "use_backend admin if { req.ssl_sni -f many.list }",
                                   "use_backend %[req.ssl_sni,map(absent,one)]", "use_backend %[req.ssl_sni,map(big.list,one)]"])
def test_names_that_cannot_be_read_lead_to_a_backend_that_refuses(directory, parts, lines):
    _, body, err, numbers, _ = converted(directory, parts, "passthrough", "FRONT", lines)
    assert not body and f"origin.conf:{numbers[0]}: not taken: service www is omitted" in err, err + body
    _, body, err, _, _ = converted(directory, parts, "passthrough", "FRONT", "use_backend www if { req.ssl_sni -i -f absent }")
    assert ONE in body and "not taken" in err, err


def test_a_listen_section_is_a_backend_that_refuses(directory, parts, monkeypatch):
    plain = TEMPLATES["passthrough"].replace("backend none\n", "")
    lines = "use_backend %[req.ssl_sni,field(1,.)]"
    without = plain.replace("    tcp-request content reject unless { src -f allow.lst }\n", "")
    for template, written in ((plain, False), (without, True)):
        monkeypatch.setitem(TEMPLATES, "passthrough", template.replace("backend admin\n", "listen admin\n    bind 127.0.0.1:@OTHER@\n"))
        _, body, err, numbers, _ = converted(directory, parts, "passthrough", "FRONT", lines)
        assert (ONE in body) == written and (written or names_a_line(err, numbers)), err + body


def test_a_section_of_stunnel_takes_a_default_back(directory, parts, monkeypatch):
    monkeypatch.setitem(TEMPLATES, "stunnel", TEMPLATES["stunnel"].replace("@FRONT@", "libwrap = no\nverify = 2"))
    status, body, err, _, ports = converted(directory, parts, "stunnel", "DEFAULTS", "CAfile = ca.pem\nlibwrap = yes\nverify = 3")
    assert status == 1 and ports[0] in body and ports[1] not in body and 'mode = "required"' in body, err + body


def test_a_listener_of_both_families_beside_one_of_a_single(directory, parts):
    """Each service keeps the family that is left, and the listener what it has."""
    entry = parts.pki.leaf("a.test", "p256", ["a.test"])
    (directory / "a.pem").write_bytes(open(entry["key"], "rb").read() + open(entry["cert"], "rb").read())
    (directory / "a.pem").chmod(0o600)
    port, origin = free_port(), directory / "origin.conf"
    origin.write_text(f"""frontend in
    mode tcp
    bind :::{port} v4v6 interface lo ssl crt {directory}/a.pem
    bind *:{port} ssl crt {directory}/a.pem
    use_backend two if {{ ssl_fc_sni b.test }}
    default_backend one
backend one
    mode tcp
    server s 127.0.0.1:1
backend two
    mode tcp
    server s 127.0.0.1:2
""")
    status, out, err = command("convert", "haproxy", origin)
    assert status == 0, err
    for family in ("[::]", "0.0.0.0"):
        assert out.count(f'listen = ["{family}:{port}"]') == 2, out
    assert f'[listener."[::]:{port}"]\ndevice = "lo"' in out and out.count("[listener.") == 1, out
    (directory / "tls-off.toml").write_text(out)
    passes_check(directory / "tls-off.toml")


# (format, text): the first service cannot be written and has the address SAME, or has it under a condition; the other one has all addresses.
KEPT_ADDRESSES = [
    ("haproxy", "frontend web\nmode http\nbind 127.0.0.1:@SAME@ ssl crt a.test.pem ca-file ca.pem verify required\nfrontend all\nbind *:@PORT@ ssl crt a.test.pem\n"
     "default_backend two\nbackend two\nserver s 127.0.0.1:8002\n"),
    ("haproxy", "frontend plain\nbind 127.0.0.1:@SAME@\ntcp-request connection reject\nfrontend all\nbind :@PORT@ ssl crt a.test.pem\n"
     "default_backend two\nbackend two\nserver s 127.0.0.1:8002\n"),
    ("haproxy", "frontend nowhere\nbind 127.0.0.1:@SAME@ ssl crt a.test.pem\nfrontend all\nbind :@PORT@ ssl crt a.test.pem\n"
     "default_backend two\nbackend two\nserver s 127.0.0.1:8002\n"),
    ("haproxy", ".if defined(DEBUG)\nfrontend debug\nbind 127.0.0.1:@SAME@ ssl crt a.test.pem\ndefault_backend two\n.endif\nfrontend all\nbind :@PORT@ ssl crt a.test.pem\n"
     "default_backend two\nbackend two\nserver s 127.0.0.1:8002\n"),
    ("haproxy", "frontend in\nbind \"${ADDRESS}:@SAME@\" ssl crt a.test.pem ca-file ca.pem verify required\ndefault_backend two\nfrontend all\nbind :@PORT@ ssl crt a.test.pem\n"
     "default_backend two\nbackend two\nserver s 127.0.0.1:8002\n"),
    ("haproxy", "peers near\nbind 127.0.0.1:@SAME@ ssl crt a.test.pem\nfrontend all\nbind :@PORT@ ssl crt a.test.pem\ndefault_backend two\nbackend two\nserver s 127.0.0.1:8002\n"),
    ("nginx-stream", "stream {\nssl_certificate a.test.crt; ssl_certificate_key a.test.key;\nserver { listen 127.0.0.1:@SAME@; deny all; proxy_pass 127.0.0.1:8001; }\n"
     "server { listen @PORT@ ssl; proxy_pass 127.0.0.1:8002; }\n}\n"),
    ("nginx-stream", "stream {\nssl_certificate a.test.crt; ssl_certificate_key a.test.key;\nserver { listen 127.0.0.1:@SAME@ ssl; deny all; return x; }\n"
     "server { listen @PORT@ ssl; proxy_pass 127.0.0.1:8002; }\n}\n"),
    ("nginx-stream", "stream {\nssl_certificate a.test.crt; ssl_certificate_key a.test.key;\nserver { listen proxy.internal:@SAME@ ssl; deny all; proxy_pass 127.0.0.1:8001; }\n"
     "server { listen @PORT@ ssl; proxy_pass 127.0.0.1:8002; }\n}\n"),
    ("nginx-stream", "http {\nserver { listen 127.0.0.1:@SAME@ ssl; deny all; }\n}\nstream {\nssl_certificate a.test.crt; ssl_certificate_key a.test.key;\n"
     "server { listen @PORT@ ssl; proxy_pass 127.0.0.1:8002; }\n}\n"),
    ("stunnel", "cert = a.test.pem\n[out]\nclient = yes\naccept = 127.0.0.1:@SAME@\nconnect = x.test:443\n[all]\naccept = @PORT@\nconnect = 8002\n"),
    ("stunnel", "cert = a.test.pem\n[run]\naccept = 127.0.0.1:@SAME@\nexec = /usr/bin/run\n[all]\naccept = @PORT@\nconnect = 8002\n"),
    ("hitch", 'pem-file = "a.test.pem"\nbackend = "[127.0.0.1]:8002"\nfrontend = { host = "127.0.0.1" port = "@SAME@" client-verify = required }\n'
     'frontend = { host = "*" port = "@PORT@" tls-protos = TLSv1.3 }\n'),
]


@pytest.mark.parametrize("template, text", KEPT_ADDRESSES, ids=lambda v: v[:60])
@pytest.mark.parametrize("same", [True, False])
def test_addresses_of_what_is_not_written_reach_no_other_service(directory, parts, monkeypatch, template, text, same):
    """With another port there it is written."""
    monkeypatch.setitem(TEMPLATES, template, text.replace("@SAME@", "@PORT@" if same else "@OTHER@") + "@END@")
    _, body, err, _, _ = converted(directory, parts, template, "END", "")
    assert (TWO in body) != same and (not same or "is omitted: it would let in" in err), err + body


@pytest.mark.parametrize("name", ['"admin.$DOMAIN"', "-m end .$DOMAIN", "-m end admin.test", "-m end -- -admin.test", "ad/min.test"])
def test_a_name_that_cannot_be_said_leads_to_a_backend_that_refuses(directory, parts, name):
    _, body, err, numbers, _ = converted(directory, parts, "passthrough", "FRONT", f"use_backend none if {{ req.ssl_sni {name} }}")
    assert ONE not in body and names_a_line(err, numbers), err + body
    _, body, err, numbers, _ = converted(directory, parts, "passthrough", "FRONT", f"use_backend www if {{ req.ssl_sni {name} }}")
    assert ONE in body and f"origin.conf:{numbers[0]}: not taken" in err, err + body


def test_a_section_that_begins_under_a_condition(directory, parts, monkeypatch):
    """It is omitted, and what follows the end of the condition is of nobody that is known."""
    template = TEMPLATES["haproxy"].replace("\nbackend one\n", "\n@FRONT@\nbackend one\n")
    monkeypatch.setitem(TEMPLATES, "haproxy", template.replace("    @FRONT@\n", ""))
    lines = ".if defined(DEBUG)\nfrontend debug\nbind 127.0.0.3:@PORT@ ssl crt a.test.pem\ndefault_backend one\n.endif"
    status, body, err, numbers, ports = converted(directory, parts, "haproxy", "FRONT", lines)
    assert status == 1 and "127.0.0.3" not in body and all(port in body for port in ports) and names_a_line(err, numbers), err
    status, body, err, numbers, ports = converted(directory, parts, "haproxy", "FRONT", lines + "\nmaxconn 5")
    assert ports[0] in body and ports[1] not in body and names_a_line(err, numbers), err
