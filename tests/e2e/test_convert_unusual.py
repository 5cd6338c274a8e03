"""Configurations of other proxies with the less usual of what their formats have: the result passes `check`, its services take the
same clients to the same backends, and what was not taken is listed with its line."""
import json
import re

import pytest

from support.clients import free_port
from support.proxy import command, passes_check

CERTS = ("a.test", "b.test")


class Case:
    """TEXT in FORMAT. LOST: parts of the lines that say "not taken", all of them. HAS, HAS_NOT: patterns of the result. GOES: (name,
    protocols) to the backend that a client reaches, None for one that is refused. FILES: what lies beside it."""

    def __init__(self, name, format, text, lost=(), has=(), has_not=(), goes=None, files=None, notes=()):
        self.name, self.format, self.text, self.lost = name, format, text, lost
        self.has, self.has_not, self.goes, self.files, self.notes = has, has_not, goes or {}, files or {}, notes


ONE, TWO, THREE = "tcp:127.0.0.1:8001", "tcp:127.0.0.1:8002", "tcp:127.0.0.1:8003"

HITCH = [
    Case("stud", "hitch", '''
        # the old syntax, as stud --default-config writes it
        frontend = "[127.0.0.1]:@PORT@"
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
        tls = on
        ssl = off
        ciphers = ""
        prefer-server-ciphers = off
        ssl-engine = ""
        workers = 1
        backlog = 100
        keepalive = 3600
        chroot = ""
        user = ""
        group = ""
        quiet = off
        syslog = off
        syslog-facility = "daemon"
        daemon = off
        write-ip = off
        write-proxy = off
        proxy-proxy = off
        sni-nomatch-abort = off
    ''', has=['keepalive = "1h"', "backlog = 100"], has_not=["cipher_suites", "user ="], goes={("a.test", ""): ONE}),
    Case("certificate-in-frontend", "hitch", '''
        frontend = "[127.0.0.1]:@PORT@+@DIR@/b.test.pem"
        backend = "[localhost]:8001"
        pem-file = "@DIR@/a.test.pem"
        workers = auto    # hitch 1.8
    ''', has=[r'certificates = .*b\.test\.pem'], has_not=[r"a\.test", "workers ="], goes={("b.test", ""): "tcp:localhost:8001"}),
    Case("both-syntaxes", "hitch", '''
        frontend = { host = "*" port = "@PORT@" }   # both families
        frontend = "[127.0.0.1]:@OTHER@"\t# and one more
        backend   =   "[::1]:8001";
        pem-file = "@DIR@/a.test.pem"
    '''.replace(";", ""), has=[r'":@PORT@"', r'"127\.0\.0\.1:@OTHER@"', r'"tcp:\[::1\]:8001"'], has_not=["service.hitch-2"]),
    Case("every-address", "hitch", '''
        frontend = { host = "0.0.0.0" port = "@PORT@" }
        frontend = { host = "*" port = "@PORT@" tls-protos = TLSv1.3 }
        backend = "/run/varnish.sock"
        pem-file = "@DIR@/a.test.pem"
    ''', has=[r'listen = \["0\.0\.0\.0:@PORT@"\]', r'listen = \["\[::\]:@PORT@"\]'], lost=[], has_not=[r'":@PORT@"']),
    Case("global-certificates-too", "hitch", '''
        frontend = {
            host = "127.0.0.1"
            port = "@PORT@"
            pem-file = "@DIR@/b.test.pem"
            match-global-certs = on
        }
        backend = "[127.0.0.1]:8001"
        pem-file = { cert = "@DIR@/a.test.crt"  private-key = "@DIR@/a.test.key" }
    ''', has=[r"b\.test\.pem", r"a\.test\.crt"], goes={("a.test", ""): ONE}),
    Case("proxy-tlvs", "hitch", '''
        frontend = "[127.0.0.1]:@PORT@"
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
        write-proxy-v2 = on
        proxy-tlv = off
        proxy-client-cert = on
    ''', has=['send = "v2"', r"tlvs = \[\]"], lost=["proxy-client-cert"]),
    Case("verify-without-ca", "hitch", '''
        frontend = { host = "127.0.0.1" port = "@PORT@" client-verify = required client-verify-ca = "" pem-file = "@DIR@/b.test.pem" }
        frontend = { host = "127.0.0.2" port = "@PORT@" }
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
    ''', lost=["names no file of CAs"], has=[r'"127\.0\.0\.2:@PORT@"'], has_not=[r'"127\.0\.0\.1:@PORT@"', "client_auth"]),
    Case("last-backend", "hitch", '''
        frontend = "[127.0.0.1]:@PORT@"
        backend = "[127.0.0.1]:8001"
        backend = "[127.0.0.1]:8002"
        pem-file = "@DIR@/a.test.pem"
        ciphers = "EECDH+AESGCM:EDH+AESGCM"
        ciphersuites = "TLS_AES_128_GCM_SHA256"
    ''', goes={("a.test", ""): TWO}, has_not=["8001", "cipher_suites"], notes=["not OpenSSL's keywords"]),
    Case("old-suites-alone", "hitch", '''
        frontend = "[127.0.0.1]:@PORT@"
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
        ciphers = "AES256-SHA:ECDHE-RSA-AES256-SHA:!aNULL"
    ''', lost=["TLS 1.2 has none"], goes={("a.test", ""): ONE}),
    Case("host-names-and-odd-ports", "hitch", '''
        frontend = { host = "proxy.internal" port = "@PORT@" }
        frontend = { host = "127.0.0.1" port = "99999" }
        frontend = { host = "localhost" port = "@PORT@" }
        backend = "[app.internal]:http"
        pem-file = "@DIR@/a.test.pem"
        user = "no-such-user-here"
        workers = 128
    ''', lost=['"proxy.internal" as an address', '"99999" as a port'], has=["tcp:app.internal:80", r'listen = \["127\.0\.0\.1:@PORT@"\]', "workers = 64"],
         has_not=["user ="], notes=["there is none on this machine"]),
]

STUNNEL = [
    Case("case-and-blanks", "stunnel", '''
        ; Options are known in any case, values are not trimmed of what is within
        FOREGROUND=yes
        [ Web Site ]
        ACCEPT =127.0.0.1:@PORT@
        Connect= 127.0.0.1:8001
        CERT = @DIR@/a.test.pem
        #sslVersion = TLSv1
    ''', goes={("a.test", ""): ONE}),
    Case("service-names", "stunnel", '''
        cert = @DIR@/a.test.pem
        [pop3s]
        accept = pop3s
        connect = pop3
        protocol = pop3
        [imaps]
        accept = ::1:993
        connect = imap2
        [any]
        accept = :::@PORT@
        connect = ::1:8001
    ''', has=[r'"0\.0\.0\.0:995"', "tcp:127.0.0.1:110", 'starttls = "pop3"', r'"\[::1\]:993"', "tcp:127.0.0.1:143", r'":@PORT@"', r"tcp:\[::1\]:8001"]),
    Case("psk", "stunnel", '''
        [psk]
        accept = 127.0.0.1:@PORT@
        connect = 127.0.0.1:8001
        PSKsecrets = /etc/stunnel/psk.txt
        ciphers = PSK
        [both]
        accept = 127.0.0.2:@PORT@
        connect = 127.0.0.1:8002
        cert = @DIR@/a.test.pem
        PSKsecrets = /etc/stunnel/psk.txt
    ''', lost=["PSKsecrets", "known by a PSK", "PSKsecrets"], has=[r'"127\.0\.0\.2:@PORT@"'], has_not=[r'"127\.0\.0\.1:@PORT@"']),
    Case("client-mode-by-default", "stunnel", '''
        client = yes
        [out]
        accept = 127.0.0.1:3306
        connect = db.example.org:3307
        [in]
        client = no
        accept = 127.0.0.1:@PORT@
        connect = 8001
        cert = @DIR@/a.test.pem
    ''', lost=["[out]: client = yes"], goes={("a.test", ""): ONE}),
    Case("sni", "stunnel", '''
        cert = @DIR@/a.test.pem
        [main]
        accept = 127.0.0.1:@PORT@
        connect = 8001
        [wild]
        sni = main:*.B.test
        connect = 8002
        cert = @DIR@/b.test.pem
        [named]
        sni = main:www.b.test
        connect = 8003
        verifyChain = yes
        CAfile = @DIR@/ca.pem
    ''', goes={("a.test", ""): ONE, ("x.b.test", ""): TWO, ("y.x.b.test", ""): TWO, ("www.b.test", ""): THREE, ("", ""): ONE},
         has=['mode = "required"']),
    Case("ca-directory", "stunnel", '''
        [inside]
        accept = 127.0.0.1:@PORT@
        connect = 127.0.0.1:8001
        cert = @DIR@/a.test.pem
        verify = 2
        CApath = /etc/ssl/certs
        [open]
        accept = 127.0.0.2:@PORT@
        connect = 127.0.0.1:8001
        cert = @DIR@/a.test.pem
    ''', lost=["CApath", "names no file of CAs"], has_not=[r'"127\.0\.0\.1:@PORT@"']),
    Case("included", "stunnel", '''
        setuid = nobody
        include = conf.d
    ''', files={"conf.d/10-web.conf": "[web]\naccept = 127.0.0.1:@PORT@\nconnect = 8001\ncert = @DIR@/a.test.pem\n",
                "conf.d/20-out.conf": "; nothing\n[out]\nclient = yes\naccept = 127.0.0.1:5000\nconnect = x.test:443\n",
                "conf.d/.hidden": "nonsense\n"},
         lost=["conf.d/20-out.conf:2: not taken: [out]"], goes={("a.test", ""): ONE}),
    Case("by-name", "stunnel", '''
        [robot]
        accept = 127.0.0.1:@PORT@
        connect = 127.0.0.1:8001
        cert = @DIR@/a.test.pem
        verifyChain = yes
        checkHost = robot.test
        CAfile = @DIR@/ca.pem
        options = NO_TLSv1.2
        TIMEOUTclose = 0
        TIMEOUTidle = 86400
        retry = yes
    ''', has=[r'allow = \["dns:robot\.test"\]', 'min_version = "1.3"', 'linger = "0s"', 'idle = "24h"']),
    Case("token", "stunnel", '''
        engine = pkcs11
        [hsm]
        accept = 127.0.0.1:@PORT@
        connect = 127.0.0.1:8001
        cert = pkcs11:token=a;object=b
        key = pkcs11:token=a;object=b
        engineId = pkcs11
    ''', lost=["engine = pkcs11", "cert = pkcs11", "key = pkcs11", "engineId", "no certificate"], goes={("", ""): ONE}),
    Case("several-backends", "stunnel", '''
        output = /no/such/directory/stunnel.log
        [ha]
        accept = 127.0.0.1:@PORT@
        connect = 127.0.0.1:8001
        connect = 127.0.0.1:8002
        failover = prio
        cert = @DIR@/a.test.pem
        protocol = cifs
        redirect = 127.0.0.1:80
        local = 127.0.0.1
    ''', lost=["failover = prio", "protocol = cifs", "redirect", "local"], has=['balance = "round-robin"', "8001.*8002"], has_not=["target"]),
]

HAPROXY = [
    Case("quotes-and-comments", "haproxy", r'''
        defaults
            mode tcp#no blank before it
            timeout client 1m
            timeout server 1m
        frontend "tls front" # with a blank
            bind "127.0.0.1:@PORT@" ssl crt '@DIR@/a.test.pem' alpn h2,http/1.1
            log-format "%ci:%cp [%t] \"%ft\" #%b"
            default_backend app\ one
        backend "app one"
            server s1 127.0.0.1:8001 check
    ''', goes={("a.test", "h2"): ONE}, has=[r'alpn = \["h2", "http/1\.1"\]', 'idle = "1m"']),
    Case("lines-of-one-acl", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@
            tcp-request inspect-delay 5s
            tcp-request content reject if !{ req.ssl_hello_type 1 }
            acl is_b req.ssl_sni -i b.test
            acl is_b req.ssl_sni -i www.b.test
            acl is_b req.ssl_sni -m end .b.test
            use_backend two if is_b
            default_backend one
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
    ''', goes={("b.test", ""): TWO, ("www.b.test", ""): TWO, ("x.y.b.test", ""): TWO, ("a.test", ""): ONE, ("", ""): ONE}),
    Case("first-line-wins", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/certs/
            use_backend one if { ssl_fc_sni -m end .b.test }
            use_backend two if { ssl_fc_sni www.b.test } or { ssl_fc_sni a.test }
            use_backend two if { ssl_fc_sni -i X.b.test }
            default_backend three
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
        backend three
            server s 127.0.0.1:8003
    ''', goes={("www.b.test", ""): ONE, ("x.b.test", ""): ONE, ("a.test", ""): TWO, ("b.test", ""): THREE}),
    Case("protocols-first", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@
            tcp-request inspect-delay 2s
            use_backend three if { req.ssl_alpn acme-tls/1 }
            use_backend two if { req.ssl_sni -i b.test } { req.ssl_alpn h2 }
            use_backend one if { req.ssl_sni,lower b.test }
            default_backend one
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
        backend three
            server s 127.0.0.1:8003
    ''', goes={("b.test", "acme-tls/1"): THREE, ("b.test", "h2"): TWO, ("b.test", "http/1.1"): ONE, ("b.test", ""): ONE, ("a.test", "acme-tls/1"): THREE,
               ("a.test", "h2"): ONE}),
    Case("map-of-names", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/certs/
            use_backend %[ssl_fc_sni,lower,map(@DIR@/hosts.map,one)]
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
    ''', files={"hosts.map": "# name backend\nb.test  two\nwww.b.test\ttwo\nc.test nowhere\n"},
         goes={("b.test", ""): TWO, ("www.b.test", ""): TWO, ("a.test", ""): ONE, ("", ""): ONE}, lost=["hosts.map:4: not taken: c.test nowhere"]),
    Case("crt-list", "haproxy", '''
        global
            crt-base @DIR@
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt-list list.txt strict-sni
            bind 127.0.0.2:@PORT@ ssl crt "${CERT}" crt a.test.pem
            default_backend one
        backend one
            server s 127.0.0.1:8001
    ''', files={"list.txt": "# comment\na.test.pem\n@DIR@/b.test.pem [alpn h2 ssl-min-ver TLSv1.3]\n\n"},
         lost=["list.txt:3: not taken", "without variables"], has=[r"a\.test\.pem", r"b\.test\.pem", "strict_sni = true"]),
    Case("families", "haproxy", '''
        listen web
            mode tcp
            bind *:@PORT@ ssl crt @DIR@/a.test.pem
            bind :::@PORT@ v6only ssl crt @DIR@/a.test.pem
            bind ipv6@:@OTHER@ ssl crt @DIR@/a.test.pem
            server s 127.0.0.1:8001
        listen both
            mode tcp
            bind [::]:@THIRD@ v4v6 ssl crt @DIR@/a.test.pem
            bind 127.0.0.1:@FOURTH@,127.0.0.2:@FOURTH@ ssl crt @DIR@/a.test.pem
            bind quic4@:443 ssl crt @DIR@/a.test.pem alpn h3
            server s unix@/run/app.sock send-proxy-v2
            server t abns@app
    ''', has=[r'"0\.0\.0\.0:@PORT@"', r'"\[::\]:@PORT@"', r'":@OTHER@"', r'":@THIRD@"', r'"127\.0\.0\.1:@FOURTH@", "127\.0\.0\.2:@FOURTH@"', "unix:/run/app.sock", "unix:@app"],
         lost=["quic4@:443", "service both", "server t: PROXY headers"]),
    Case("accept-lists", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem
            acl office src 192.0.2.0/24 198.51.100.7
            acl office src 2001:db8::/32
            tcp-request connection accept if office
            tcp-request connection reject
            default_backend one
        frontend some
            mode tcp
            bind 127.0.0.2:@PORT@ ssl crt @DIR@/a.test.pem
            tcp-request connection accept if { src 10.1.0.0/16 }
            tcp-request connection reject if { src 10.0.0.0/255.0.0.0 }
            tcp-request content accept if !{ req_ssl_hello_type 1 }
            tcp-request content reject
            default_backend one
        frontend unless
            mode tcp
            bind 127.0.0.3:@PORT@ ssl crt @DIR@/a.test.pem
            tcp-request connection reject unless { src 10.0.0.0/8 }
            default_backend one
        backend one
            server s 127.0.0.1:8001
    ''', has=['"192.0.2.0/24"', '"198.51.100.7/32"', '"2001:db8::/32"', r'allow = \["10\.1\.0\.0/16", "0\.0\.0\.0/0", "::/0"\]\ndeny = \["10\.0\.0\.0/8"\]',
              r'allow = \["10\.0\.0\.0/8"\]']),
    Case("in-vain", "haproxy", '''
        defaults
            mode http
            errorfile 503 /etc/haproxy/errors/503.http
        frontend www
            bind :80
            bind :443 ssl crt @DIR@/a.test.pem
            http-request redirect scheme https unless { ssl_fc }
            default_backend app
        frontend regex
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem
            use_backend one if { ssl_fc_sni -m reg ^www }
            use_backend one unless { ssl_fc_sni b.test }
            default_backend one
            stick on src
        frontend plain
            mode tcp
            bind 127.0.0.2:@PORT@
            default_backend one
        backend one
            mode tcp
            server s 127.0.0.1:8001 weight 20 maxconn 50
            server-template t 2 app.internal:80
            use-server s if { ssl_fc_sni a.test }
    ''', lost=["frontend www: mode http", "-m reg", "unless", "stick on src", "neither TLS", "weight 20", "maxconn 50", "server-template", "use-server"],
         goes={("a.test", ""): ONE}, notes=["errorfile"]),
    Case("client-certificates", "haproxy", '''
        global
            ca-base @DIR@
            ssl-default-bind-options no-sslv3 no-tlsv10 force-tlsv13
            ssl-default-bind-curves X25519:P-256
            user no-such-user-here
            chroot /var/lib/haproxy
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem ca-file ca.pem verify required
            bind 127.0.0.2:@PORT@ ssl crt @DIR@/a.test.pem verify required
            timeout client 90s
            timeout client-fin 1s
            default_backend one
        backend one
            timeout tunnel 1h
            server s 127.0.0.1:8001
            server off 127.0.0.1:8002 disabled
    ''', lost=["names no file of CAs"], has=['mode = "required"', 'min_version = "1.3"', r'groups = \["x25519", "secp256r1"\]', 'idle = "1h"', 'half_closed = "1s"'],
         has_not=[r'"127\.0\.0\.2:@PORT@"', "8002", "user ="]),
]

NGINX = [
    Case("quotes-and-variables", "nginx-stream", r'''
        stream {
            log_format main '$remote_addr [$time_local] {"s": "$status"; #1}' # a comment
                            "more";
            access_log /var/log/nginx/stream.log main;
            server {
                listen "127.0.0.1:@PORT@" ssl; ssl_certificate "@DIR@/a.test.crt"; ssl_certificate_key '@DIR@/a.test.key';
                proxy_pass 127.0.0.1:8001;
                proxy_ssl_name ${hostname};
            }
        }
    ''', goes={("a.test", ""): ONE}, lost=["proxy_ssl_name ${hostname}"], notes=["access_log", "log_format"]),
    Case("hostnames-map", "nginx-stream", '''
        events {}
        stream {
            map $ssl_preread_server_name $who {
                hostnames;
                default        127.0.0.1:8003;
                a.test         one;
                www.A.test     one;
                *.b.test       two;
                .c.test        two;
                mail.*         two;
                "~^(?<x>.+)\\.d\\.test$"  two;
                ""             one;
            }
            upstream one { zone z 64k; server 127.0.0.1:8001; }
            upstream two { least_conn; server 127.0.0.1:8002 weight=1 max_fails=3 fail_timeout=5s; }
            server {
                listen 127.0.0.1:@PORT@ reuseport;
                ssl_preread on;
                proxy_pass $who;
            }
        }
    ''', goes={("a.test", ""): ONE, ("www.a.test", ""): ONE, ("x.y.b.test", ""): TWO, ("b.test", ""): THREE, ("c.test", ""): TWO, ("x.c.test", ""): TWO,
               ("", ""): ONE, ("other.test", ""): THREE}, lost=["mail.*", "regular expression"]),
    Case("map-without-hostnames", "nginx-stream", '''
        stream {
            map $ssl_preread_server_name $who {
                a.test   127.0.0.1:8001;
                *.b.test 127.0.0.1:8002;
                default  "";
            }
            server { listen 127.0.0.1:@PORT@; ssl_preread on; proxy_pass $who; }
        }
    ''', goes={("a.test", ""): ONE, ("x.b.test", ""): None, ("", ""): None}, lost=["hostnames"]),
    Case("included", "nginx-stream", '''
        include modules-enabled/*.conf;
        http { include mime.types; }
        stream {
            include streams.d/*.conf;
        }
    ''', files={"streams.d/10-maps.conf": "map $ssl_preread_server_name $who {\n include names.map;\n default one;\n}\n",
                "names.map": "b.test two;\n",
                "streams.d/20-up.conf": "upstream one { server 127.0.0.1:8001; }\nupstream two { server 127.0.0.1:8002; }\n",
                "streams.d/30-server.conf": "server {\n listen 127.0.0.1:@PORT@;\n ssl_preread on;\n proxy_pass $who;\n proxy_bind 127.0.0.1;\n}\n"},
         goes={("b.test", ""): TWO, ("a.test", ""): ONE}, lost=["30-server.conf:5: not taken: proxy_bind"], notes=["the http block"]),
    Case("listen-forms", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt;
            ssl_certificate_key @DIR@/a.test.key;
            server {
                listen @PORT@ ssl;
                listen [::]:@PORT@ ssl ipv6only=on;
                listen *:@OTHER@ ssl backlog=128;
                listen localhost:@THIRD@ ssl;
                listen unix:/run/tls.sock ssl;
                listen proxy.internal:443 ssl;
                listen 127.0.0.1:@FOURTH@ udp;
                proxy_pass unix:/run/app.sock;
            }
        }
    ''', has=[r'"0\.0\.0\.0:@PORT@"', r'"\[::\]:@PORT@"', r'"0\.0\.0\.0:@OTHER@"', "backlog = 128", r'"127\.0\.0\.1:@THIRD@"', "unix:/run/tls.sock", "unix:/run/app.sock"],
         lost=['"proxy.internal" as an address', "TLS over UDP"]),
    Case("both-families", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt;
            ssl_certificate_key @DIR@/a.test.key;
            server { listen [::]:@PORT@ ssl ipv6only=off; proxy_pass 127.0.0.1:8001; }
            server { listen @PORT@ ssl; proxy_pass 127.0.0.1:8002; }
        }
    ''', has=[r'listen = \["\[::\]:@PORT@"\]', r'listen = \["0\.0\.0\.0:@PORT@"\]'], has_not=[r'":@PORT@"']),
    Case("access", "nginx-stream", '''
        stream {
            allow 192.0.2.1;
            deny all;
            ssl_certificate @DIR@/a.test.crt;
            ssl_certificate_key @DIR@/a.test.key;
            server { listen 127.0.0.1:@PORT@ ssl; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.2:@PORT@ ssl; proxy_pass 127.0.0.1:8001; deny 10.0.0.5; allow 10.0.0.7/8; deny 10.1.0.0/16; deny 172.16.0.0/12; }
            server { listen 127.0.0.3:@PORT@ ssl; proxy_pass 127.0.0.1:8001; deny all; }
            server { listen 127.0.0.4:@PORT@ ssl; proxy_pass 127.0.0.1:8001; allow 10.0.0.0/8; }
        }
    ''', has=[r'allow = \["192\.0\.2\.1/32"\]', r'deny = \["10\.0\.0\.5/32", "172\.16\.0\.0/12"\]\nallow = \["10\.0\.0\.0/8", "0\.0\.0\.0/0", "::/0"\]|'
              r'allow = \["10\.0\.0\.0/8", "0\.0\.0\.0/0", "::/0"\]', r'deny = \["0\.0\.0\.0/0", "::/0"\]'], has_not=[r"10\.1\.0\.0"]),
    Case("server-names", "nginx-stream", '''
        stream {
            server { listen 127.0.0.1:@PORT@ ssl; server_name a.test; ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.1:@PORT@ ssl default_server; server_name b.test .c.test ~^d; ssl_certificate @DIR@/b.test.crt; ssl_certificate_key @DIR@/b.test.key; proxy_pass 127.0.0.1:8002; }
        }
    ''', goes={("a.test", ""): ONE, ("b.test", ""): TWO, ("x.c.test", ""): TWO, ("", ""): TWO, ("other.test", ""): TWO}, lost=["regular expression"]),
    Case("times-and-versions", "nginx-stream", '''
        user no-such-user-here;
        worker_processes 128;
        stream {
            server {
                listen 127.0.0.1:@PORT@ ssl;
                ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
                ssl_protocols TLSv1 TLSv1.1 TLSv1.2;
                ssl_ciphers 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:!aNULL:!MD5:@STRENGTH';
                ssl_session_timeout 1d;
                ssl_handshake_timeout 90s;
                proxy_timeout "1h 30m";
                proxy_connect_timeout 1500ms;
                proxy_pass 127.0.0.1:8001;
            }
        }
    ''', has=["workers = 64", 'handshake = "90s"', 'idle = "90m"', 'connect = "1500ms"', "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"], has_not=["CHACHA20_POLY1305_SHA256\".*TLS_ECDHE_RSA_WITH_CHACHA", "user ="],
         notes=["TLSv1.1: tls-off begins", "ssl_session_timeout"]),
    Case("in-vain", "nginx-stream", '''
        stream {
            limit_conn_zone $binary_remote_addr zone=addr:10m;
            split_clients $remote_addr $half { 50% one; * two; }
            map "$ssl_preread_server_name:$ssl_preread_alpn_protocols" $x { default 127.0.0.1:8001; }
            server { listen 127.0.0.1:12345; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.1:12346; return "hello"; }
            server { listen 127.0.0.1:@OTHER@; ssl_preread on; proxy_pass $x; }
            server { listen 127.0.0.1:@THIRD@; ssl_preread on; proxy_pass $ssl_preread_server_name:443; }
            server { listen 127.0.0.1:@PORT@ ssl; ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key; ssl_verify_client on;
                     ssl_trusted_certificate @DIR@/ca.pem; ssl_verify_depth 20; proxy_pass 127.0.0.1:8001; proxy_ssl on; ssl_conf_command Options KTLS; }
        }
    ''', lost=["limit_conn_zone", "split_clients", "neither TLS", "return hello", 'no "proxy_pass"', "only maps", "only maps", "TLS to a backend", "proxy_ssl on", "ssl_conf_command"],
         has=["depth = 16", 'mode = "required"']),
]

# Each of them was once something else than it says.
MORE = [
    Case("versions-beside-another-key", "hitch", '''
        frontend = { host="127.0.0.1" port="@PORT@" tls-protos = TLSv1.3 client-verify = none }
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
    ''', has=['min_version = "1.3"'], goes={("a.test", ""): ONE}),
    Case("one-old-version", "hitch", '''
        frontend = "[127.0.0.1]:@PORT@"
        tls-protos = TLSv1.2
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
    ''', has=['min_version = "1.2"', 'idle = "none"'], notes=["TLS 1.3 is offered, too"], goes={("a.test", ""): ONE}),
    Case("one-old-version", "stunnel", '''
        cert = @DIR@/a.test.pem
        [exactly]
        accept = 127.0.0.1:@PORT@
        connect = 8001
        sslVersion = TLSv1.2
        [at-most]
        accept = 127.0.0.1:@OTHER@
        connect = 8001
        sslVersionMax = TLSv1.2
        TIMEOUTidle = 60
        [but-one]
        accept = 127.0.0.1:@THIRD@
        connect = 8001
        options = NO_TLSv1_3
    ''', notes=["sslVersion = TLSv1.2: TLS 1.3 is offered, too", "sslVersionMax = TLSv1.2: TLS 1.3 is offered, too", "options = NO_TLSv1_3: TLS 1.3 is offered, too"],
         has=[r'exactly.timeouts\]\nidle = "12h"', r'at-most.timeouts\]\nidle = "1m"'], goes={("a.test", ""): ONE}),
    Case("any-certificate", "stunnel", '''
        cert = @DIR@/a.test.pem
        [some]
        accept = 127.0.0.1:@PORT@
        connect = 8001
        CAfile = @DIR@/ca.pem
        requireCert = yes
    ''', lost=["requireCert without verifyChain"], has=['mode = "required"'], goes={("a.test", ""): ONE}),
    Case("plain-headers", "haproxy", '''
        listen all
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem
            server one 127.0.0.1:8001 send-proxy-v2
    ''', has=[r'tlvs = \["alpn"\]'], goes={("a.test", ""): ONE}),
    Case("headers-with-options", "haproxy", '''
        listen all
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem
            default-server send-proxy-v2-ssl-cn
            server one 127.0.0.1:8001 proxy-v2-options cert-cn,authority,ssl-cipher
    ''', has=[r'tlvs = \["ssl", "authority", "alpn"\]'], goes={("a.test", ""): ONE}),
    Case("no-timeouts", "haproxy", '''
        listen all
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem
            server one 127.0.0.1:8001
    ''', has=['idle = "none"'], goes={("a.test", ""): ONE}),
    Case("versions-on-two-lines", "hitch", '''
        frontend = "[127.0.0.1]:@PORT@"
        tls-protos = TLSv1.2
                     TLSv1.3
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
    ''', has=['min_version = "1.2"'], goes={("a.test", ""): ONE}),
    Case("no-name-at-all", "hitch", '''
        frontend = "[127.0.0.1]:@PORT@"
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
        sni-nomatch-abort = on
    ''', has=["strict_sni = true"], lost=["clients that ask for no name"]),
    Case("a-pattern-of-another-kind", "stunnel", '''
        cert = @DIR@/a.test.pem
        CAfile = @DIR@/ca.pem
        [main]
        accept = 127.0.0.1:@PORT@
        connect = 8001
        verifyChain = yes
        [open]
        sni = main:*-pub.test
        connect = 8002
    ''', has=['mode = "required"'], has_not=["8002"], lost=["*-pub.test"], goes={("x-pub.test", ""): ONE}),
    Case("every-name", "stunnel", '''
        cert = @DIR@/a.test.pem
        [main]
        accept = 127.0.0.1:@PORT@
        connect = 8001
        [named]
        sni = main:*
        connect = 8002
    ''', goes={("a.test", ""): TWO, ("", ""): ONE}),
    Case("verified-no-more", "stunnel", '''
        cert = @DIR@/a.test.pem
        CAfile = @DIR@/ca.pem
        verifyChain = yes
        [neither]
        verifyChain = no
        requireCert = no
        accept = 127.0.0.1:@PORT@
        connect = 8001
        [when-there-is-one]
        requireCert = no
        accept = 127.0.0.1:@OTHER@
        connect = 8002
        [still]
        verifyPeer = no
        accept = 127.0.0.1:@THIRD@
        connect = 8003
    ''', has=[r'when-there-is-one.client_auth\][^[]*mode = "optional"', r'still.client_auth\][^[]*mode = "required"'], has_not=["neither.client_auth"],
         goes={("a.test", ""): ONE}),
    Case("hellos-behind-tls", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/certs/
            use_backend two if { req.ssl_sni -i b.test }
            use_backend three if { ssl_fc_sni x.test } !{ req.ssl_alpn h2 }
            default_backend one
        frontend pass
            mode tcp
            bind 127.0.0.1:@OTHER@
            use_backend two if { ssl_fc_sni b.test }
            use_backend three if { req.ssl_sni b.test }
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
        backend three
            server s 127.0.0.1:8003
    ''', goes={("b.test", ""): ONE, ("x.test", ""): THREE}, has_not=["8002"], notes=["TLS ends here", "TLS does not end here", "backend two: no frontend"]),
    Case("no-patterns", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@
            use_backend two if { req.ssl_sni -i *.b.test }
            use_backend two if { req.ssl_sni * }
            use_backend two if { req.ssl_sni -m end *.b.test }
            use_backend %[req.ssl_sni,map(@DIR@/hosts.map)]
            default_backend one
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
    ''', files={"hosts.map": "*.c.test two\nd.test two\n"}, goes={("x.b.test", ""): ONE, ("x.c.test", ""): ONE, ("d.test", ""): TWO}, notes=["no pattern in HAProxy"]),
    Case("a-part-of-a-label", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@
            use_backend two if { req.ssl_sni -m end -- -prod.test }
            default_backend one
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
    ''', goes={("app-prod.test", ""): ONE}, lost=["names that end in -prod.test"]),
    Case("files-that-are-none", "haproxy", '''
        crt-store web
            load crt c.pem alias site
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem ca-file @system-ca verify required
            bind 127.0.0.1:@OTHER@ ssl crt @web/site crt @DIR@/a.test.pem
            default_backend one
        backend one
            server s 127.0.0.1:8001
        backend spare
            server s 127.0.0.1:8002
    ''', has=[r'"127\.0\.0\.1:@OTHER@"'], has_not=["@PORT@", "8002"], lost=["crt-store web", "@system-ca", "names no file of CAs", "@web/site"],
         notes=["backend spare: no frontend"]),
    Case("inner-networks-replace", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            set_real_ip_from 0.0.0.0/0;
            server { listen 127.0.0.1:@PORT@ ssl proxy_protocol; set_real_ip_from 10.0.0.1; deny 192.0.2.0/24; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.1:@OTHER@ ssl proxy_protocol; set_real_ip_from unix:; set_real_ip_from lb.test; set_real_ip_from 10.0.0.1/8; proxy_pass 127.0.0.1:8002; }
        }
    ''', has=[r'trust = \["10\.0\.0\.1/32"\]', r'trust = \["10\.0\.0\.0/8"\]'], has_not=[r"0\.0\.0\.0/0"], lost=["from unix:", "from lb.test"]),
    Case("inner-commands-replace", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt;
            ssl_certificate_key @DIR@/a.test.key;
            ssl_conf_command MinProtocol TLSv1.3;
            server { listen 127.0.0.1:@PORT@ ssl; ssl_conf_command Options KTLS; ssl_certificate @DIR@/b.test.crt; ssl_certificate_key @DIR@/b.test.key; proxy_pass 127.0.0.1:8001; }
        }
    ''', has=[r"b\.test\.key"], has_not=["min_version", r"a\.test"], lost=["Options KTLS"]),
    Case("a-list-of-protocols", "nginx-stream", '''
        stream {
            map $ssl_preread_alpn_protocols $up { h2 127.0.0.1:8002; default 127.0.0.1:8001; }
            map $ssl_preread_alpn_protocols $no { h2 127.0.0.1:8002; default ""; }
            server { listen 127.0.0.1:@PORT@; ssl_preread on; proxy_pass $up; }
            server { listen 127.0.0.1:@OTHER@; ssl_preread on; proxy_pass $no; }
        }
    ''', goes={("a.test", "h2"): TWO, ("a.test", ""): ONE}, has_not=["@OTHER@"], lost=["3: not taken: h2", "4: not taken: h2", "4: not taken: service 127-0-0-1-8002-2 is omitted"],
         notes=["its clients are refused"]),
    Case("addresses-of-several-kinds", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            server {
                listen 127.0.0.1:@OTHER@;
                listen 127.0.0.1:@PORT@ ssl;
                listen 127.0.0.1:@THIRD@ ssl proxy_protocol;
                set_real_ip_from 10.0.0.1;
                proxy_pass 127.0.0.1:8001;
            }
        }
    ''', goes={("a.test", ""): ONE}, has=[r'listen = \["127\.0\.0\.1:@THIRD@"\](?:(?!listen)[\s\S])*proxy_protocol\]', r'listen = \["127\.0\.0\.1:@PORT@"\]'],
         has_not=[r'"127\.0\.0\.1:@OTHER@"', r'(?s)accept = "required".*accept = "required"'], lost=["neither TLS nor"]),
    Case("one-address-in-several-forms", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            server { listen @PORT@ ssl; server_name one.test; proxy_pass 127.0.0.1:8001; }
            server { listen *:@PORT@ ssl; server_name two.test; proxy_pass 127.0.0.1:8002; }
            server { listen 0.0.0.0:@PORT@ ssl; server_name three.test; proxy_pass 127.0.0.1:8003; }
        }
    ''', goes={("one.test", ""): ONE, ("two.test", ""): TWO, ("three.test", ""): THREE, ("", ""): ONE}),
    Case("default-at-one-of-two", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            server { listen 127.0.0.1:@OTHER@ ssl; listen 127.0.0.1:@PORT@ ssl; server_name b.test; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.1:@PORT@ ssl; listen 127.0.0.1:@THIRD@ ssl; server_name c.test; proxy_pass 127.0.0.1:8002; }
        }
    ''', goes={("b.test", ""): ONE, ("c.test", ""): TWO, ("x.test", ""): ONE}, has=[r'listen = \["127\.0\.0\.1:@THIRD@"\]\nnames = \["c\.test", "\*", ""\]']),
    Case("nobody-asks-for-a-pattern", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            server { listen 127.0.0.1:@PORT@ ssl; ssl_verify_client on; ssl_client_certificate @DIR@/ca.pem; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.1:@PORT@ ssl; server_name ~^pub; proxy_pass 127.0.0.1:8002; }
            server { listen 127.0.0.1:@PORT@ ssl; proxy_pass 127.0.0.1:8003; }
        }
    ''', goes={("a.test", ""): ONE, ("pub.test", ""): ONE}, has_not=["8002", "8003"], lost=["regular expression", "takes every name"]),
    Case("protocols-behind-tls", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/certs/ alpn h2,http/1.1
            use_backend two if { ssl_fc_alpn h2 }
            use_backend three if { ssl_fc_sni -i b.test }
            default_backend one
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
        backend three
            server s 127.0.0.1:8003
    ''', goes={("a.test", "h2,http/1.1"): TWO, ("b.test", "h2"): TWO, ("a.test", "http/1.1"): ONE, ("b.test", ""): THREE, ("", ""): ONE}),
    Case("protocols-of-one-name", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/certs/ alpn h2,http/1.1
            use_backend two if { ssl_fc_sni b.test } { ssl_fc_alpn h2 }
            use_backend three if { ssl_fc_sni b.test } { ssl_fc_alpn http/1.1 }
            default_backend one
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
        backend three
            server s 127.0.0.1:8003
    ''', goes={("a.test", "h2"): ONE, ("a.test", "http/1.1"): ONE, ("b.test", "h2"): TWO, ("b.test", "http/1.1"): THREE, ("b.test", ""): ONE}),
    Case("protocols-that-nobody-is-offered", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/certs/ alpn http/1.1
            bind 127.0.0.1:@OTHER@ ssl crt @DIR@/certs/
            use_backend two if { ssl_fc_alpn h2 }
            default_backend one
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
    ''', goes={("a.test", "http/1.1"): ONE, ("a.test", ""): ONE}, has_not=["8002"], notes=["nobody comes by its protocols"]),
    Case("protocols-by-a-map", "nginx-stream", '''
        stream {
            map $ssl_alpn_protocol $app { h2 127.0.0.1:8002; default 127.0.0.1:8001; }
            server { listen 127.0.0.1:@PORT@ ssl; ssl_alpn h2 http/1.1; ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key; proxy_pass $app; }
        }
    ''', goes={("a.test", "h2,http/1.1"): TWO, ("a.test", "http/1.1"): ONE, ("a.test", ""): ONE}),
    Case("the-same-address-twice", "haproxy", '''
        frontend first
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem
            default_backend one
        frontend second
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem
            bind 127.0.0.1:@OTHER@ ssl crt @DIR@/a.test.pem
            default_backend two
        frontend hellos
            mode tcp
            bind 127.0.0.1:@THIRD@
            use_backend two if { req.ssl_sni b.test }
            default_backend one
        frontend again
            mode tcp
            bind 127.0.0.1:@THIRD@
            use_backend one if { req.ssl_sni b.test }
            use_backend two if { req.ssl_sni c.test }
        backend one
            server s 127.0.0.1:8001
        backend two
            server s 127.0.0.1:8002
    ''', goes={("a.test", ""): ONE}, has=[r'"127\.0\.0\.1:@OTHER@"', r'names = \["c\.test"\]'], lost=["its clients reach service one"],
         notes=["1 of its names belong to service two"]),
    Case("every-address-beside-one", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            server { listen @PORT@ ssl; listen @OTHER@ ssl; listen 127.0.0.2:@OTHER@ ssl; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.1:@PORT@ ssl; proxy_pass 127.0.0.1:8002; }
        }
    ''', goes={("a.test", ""): TWO}, has=[r'listen = \["0\.0\.0\.0:@OTHER@"\]'], has_not=[r"0\.0\.0\.0:@PORT@"], lost=["nobody can listen at"]),
    Case("a-name-of-two-servers", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            ssl_ecdh_curve no-such-group:X25519;
            server { listen 127.0.0.1:@PORT@ ssl; server_name a.test; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.1:@PORT@ ssl; server_name a.test b.test; proxy_pass 127.0.0.1:8002; }
            server { listen 127.0.0.1:@PORT@ ssl; server_name A.test; proxy_pass 127.0.0.1:8003; }
        }
    ''', goes={("a.test", ""): ONE, ("b.test", ""): TWO}, has_not=["8003"], has=[r'groups = \["x25519"\]'], notes=["1 of its names belong to service 127-0-0-1-8001", "no-such-group"]),
    Case("what-one-server-says-of-an-address", "nginx-stream", '''
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            set_real_ip_from 10.0.0.0/8;
            server { listen 127.0.0.1:@PORT@ ssl proxy_protocol; server_name a.test; proxy_pass 127.0.0.1:8001; ssl_handshake_timeout 20s; }
            server { listen 127.0.0.1:@PORT@; server_name b.test; proxy_pass 127.0.0.1:8002; }
        }
    ''', goes={("a.test", ""): ONE, ("b.test", ""): TWO}, has=[r'(?s)accept = "required".*accept = "required"', r'(?s)handshake = "20s".*handshake = "20s"'],
         lost=['"handshake" has to be that of']),
    Case("quotes-within-words", "nginx-stream", r'''
        http { add_header X 'it\'s'; add_header Y a"b; }
        stream {
            ssl_certificate '@DIR@/a.test.crt'; ssl_certificate_key "@DIR@/a.test.key";
            map $ssl_server_name $app { \default 127.0.0.1:8002; "a.test" 127.0.0.1:8001; }
            server { listen 127.0.0.1:@PORT@ ssl; proxy_pass $app; }
        }
    ''', goes={("a.test", ""): ONE, ("other.test", ""): None, ("default", ""): TWO}, notes=["the http block"]),
    Case("where-http-listens", "nginx-stream", '''
        http { include types; include sites/*.conf; server { location / { include absent; } } }
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            server { listen 127.0.0.1:@PORT@ ssl; proxy_pass 127.0.0.1:8001; }
            server { listen 127.0.0.1:@OTHER@ ssl; proxy_pass 127.0.0.1:8002; }
        }
    ''', files={"sites/a.conf": "server { listen 127.0.0.1:@OTHER@ ssl; include sites/part; }\n", "sites/part": "listen 127.0.0.1:@THIRD@;\n"},
         goes={("a.test", ""): ONE}, has_not=["8002"], lost=["sites/a.conf:1: not taken: service"], notes=["not needed: include types"]),
    Case("nothing-without-a-word", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem ssl-max-ver TLSv1.2 ssl-min-ver TLSv9
            timeout client 5s
            timeout queue 5s
            default_backend one
        backend one
            timeout check 1s
            server s 127.0.0.1:8001 check check-sni a.test agent-check agent-port 5
        acme LE
            directory https://acme.test/
    ''', goes={("a.test", ""): ONE}, lost=['"TLSv9"', "agent-check"], notes=["ssl-max-ver: TLS 1.3", "timeout queue", "timeout check", "acme LE"]),
    Case("headers-for-some", "haproxy", '''
        frontend in
            mode tcp
            bind 127.0.0.1:@PORT@ ssl crt @DIR@/a.test.pem
            default_backend one
        frontend too
            mode tcp
            bind 127.0.0.1:@OTHER@ ssl crt @DIR@/a.test.pem
            default_backend two
        backend one
            server s 127.0.0.1:8001 send-proxy
            server t 127.0.0.1:8002
            server u 127.0.0.1:8003 send-proxy
        backend two
            server s 127.0.0.1:8001
            server off 127.0.0.1:8002 send-proxy disabled
    ''', goes={("a.test", ""): ONE}, lost=["server t: PROXY headers"]),
    Case("parameters-that-are-not-known", "nginx-stream", '''
        lock_file x;
        stream {
            ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key;
            upstream app { server 127.0.0.1:8001 max_fails=3 fail_timeout=5s service=http; }
            server { listen 127.0.0.1:@PORT@ ssl reuseport so_keepalive=30m::10 multipath; ssl_protocols TLSv1.2; proxy_pass app; }
        }
    ''', goes={("a.test", ""): ONE}, lost=["service=http", "multipath"], notes=["lock_file", "so_keepalive", "ssl_protocols: TLS 1.3"]),
    Case("numbers-beyond-ours", "hitch", '''
        frontend = "[127.0.0.1]:@PORT@"
        backend = "[10.0.0.300]:80"
        backend = "[127.0.0.1]:8001"
        pem-file = "@DIR@/a.test.pem"
        keepalive = 100000
        backlog = 0
        client-verify = require
        client-verify-ca = "@DIR@/ca.pem"
    ''', has=['keepalive = "32767s"', 'mode = "required"'], has_not=["backlog"], lost=["10.0.0.300:80"], notes=["the kernel's most"]),
    Case("many-backends-and-names", "nginx-stream", '''
        stream {
            map $ssl_preread_server_name $app { include names; default 127.0.0.1:8002; }
            upstream many { include servers; }
            server { listen 127.0.0.1:@PORT@; ssl_preread on; proxy_pass $app; }
        }
    ''', files={"names": "".join(f"n{i}.test many;\n" for i in range(1023)), "servers": "".join(f"server 127.0.0.1:{8001 + i};\n" for i in range(65))},
         goes={("n0.test", ""): ONE, ("n1022.test", ""): TWO}, lost=["names:1023: not taken", "servers:65: not taken"]),
    Case("two-files-of-authorities", "nginx-stream", '''
        stream {
            server { listen 127.0.0.1:@PORT@ ssl; ssl_certificate @DIR@/a.test.crt; ssl_certificate_key @DIR@/a.test.key; ssl_verify_client on;
                     ssl_client_certificate @DIR@/ca.pem; ssl_trusted_certificate @DIR@/a.test.crt; proxy_pass 127.0.0.1:8001; }
        }
    ''', has=[r"ca = .*/ca\.pem"], lost=["ssl_trusted_certificate"]),
]

CASES = HITCH + STUNNEL + HAPROXY + NGINX + MORE


@pytest.fixture
def site(parts, directory):
    for cn in CERTS:
        entry = parts.pki.leaf(cn, "p256", [cn])
        chain = open(entry["cert"], "rb").read() + parts.pki.ca.read_bytes()
        key = open(entry["key"], "rb").read()
        for name, content in ((cn + ".pem", key + chain), (cn + ".crt", chain), (cn + ".key", key), ("certs/" + cn + ".pem", key + chain)):
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(content)
            (directory / name).chmod(0o600)
    (directory / "ca.pem").write_bytes(parts.pki.ca.read_bytes())
    return directory


def reached(config, port, name, protocols):
    """The backend of a client, or None."""
    arguments = ["--explain", f"127.0.0.1:{port}", name, *([protocols] if protocols else []), "--json"]
    status, out, err = command("check", config, *arguments)
    assert status == 0, err
    answer = json.loads(out)
    return None if answer["refused"] else answer["backends"][0]["name"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}-{case.name}")
def test_means_the_same(case, site):
    words = {"DIR": site, **{name: free_port() for name in ("PORT", "OTHER", "THIRD", "FOURTH")}}

    def filled(text):
        return re.sub("@([A-Z]+)@", lambda m: str(words[m[1]]) if m[1] in words else m[0], text)

    for name, text in case.files.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(filled(text))
    origin = site / "origin.conf"
    origin.write_text(filled(case.text))
    status, out, err = command("convert", case.format, origin)
    lost = [line for line in err.splitlines() if ": not taken: " in line]
    assert len(lost) == len(case.lost) and all(any(filled(wanted) in line for line in lost) for wanted in case.lost), err
    assert status == (1 if lost else 0), err
    for line in err.splitlines():
        assert re.match(r"\S+:[1-9]\d*: not (taken|needed): ", line) and f"# {line}\n" in out, line
    for note in case.notes:
        assert note in err, err
    body = "\n".join(line for line in out.splitlines() if not line.startswith("#"))
    for pattern in case.has:
        assert re.search(filled(pattern), body), body
    for pattern in case.has_not:
        assert not re.search(filled(pattern), body), body
    config = site / "tls-off.toml"
    config.write_text(out)
    passes_check(config)
    for (name, protocols), backend in case.goes.items():
        assert reached(config, words["PORT"], name, protocols) == backend, (name, protocols, out)


def test_ten_of_each_format():
    for cases in (HITCH, STUNNEL, HAPROXY, NGINX):
        assert len({case.name for case in cases}) == 10


INCLUDES = {
    "itself": ("nginx-stream", "stream {\n    include a.conf;\n}\n", {"a.conf": "include a.conf;\n"}, "a.conf:1:"),
    "in-a-circle": ("nginx-stream", "stream {\n    include loop/*.conf;\n}\n", {f"loop/{i}.conf": "include loop/*.conf;\n" for i in range(8)}, "loop/0.conf:1:"),
    "too-many": ("nginx-stream", "stream {\n    include 0.conf;\n}\n", {f"{i}.conf": f"include {i + 1}.conf;\ninclude {i + 1}.conf;\n" for i in range(14)} | {"14.conf": ""}, "4096"),
    "too-long": ("nginx-stream", "stream {\n" + 8 * "    include a.conf;\n" + "}\n", {"a.conf": 10000 * ("#" * 99 + "\n")}, "4 MiB"),
    "directory": ("stunnel", "include = loop\n", {f"loop/{i}.conf": "include = loop\n" for i in range(8)}, "line 1: found \"include = loop\" within itself"),
    "directories": ("stunnel", "include = d0\n", {f"d{i}/{k}.conf": f"include = d{i + 1}\n" for i in range(6) for k in range(8)} | {"d6/x": ""}, "4096"),
}


@pytest.mark.parametrize("name", INCLUDES)
def test_includes_without_an_end(site, name):
    format, text, files, expected = INCLUDES[name]
    for file, content in files.items():
        (site / file).parent.mkdir(exist_ok=True)
        (site / file).write_text(content)
    (site / "origin.conf").write_text(text)
    status, out, err = command("convert", format, site / "origin.conf")
    assert status == 1 and not out and expected in err and len(err.splitlines()) == 1, err


def test_files_that_are_included_again(site):
    """Which is no circle: each server has the same part."""
    port = free_port()
    (site / "part.conf").write_text(f"ssl_certificate {site}/a.test.crt;\nssl_certificate_key {site}/a.test.key;\n")
    (site / "origin.conf").write_text("stream {\n" + "".join(
        f"server {{ listen 127.0.{i // 100}.{i % 100 + 1}:{port} ssl; include part.conf; proxy_pass 127.0.0.1:8001; }}\n" for i in range(300)) + "}\n")
    status, out, err = command("convert", "nginx-stream", site / "origin.conf")
    assert status == 0 and out.count("certificates = ") == 300, err
