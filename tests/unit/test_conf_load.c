/* The loader on text alone: what is taken, and what is said about what is not. */
#include "conf_support.h"

#define HEAD    "[service.a]\nlisten = [\"127.0.0.1:0\"]\n"
#define SERVICE HEAD "backends = [\"unix:/x\"]\n" /* lines 1 to 3 */
#define TOP     SERVICE "[log]\n"

struct broken {
    const char *toml;
    const char *lines; /* of errors, exactly; without an end of line, where the library's own words follow: their beginning */
};

static const struct broken table[] = {
    /* the text */
    {"a = ", "t.toml:1:5: error while parsing"},
    {"a = \"x\nb = 1\n", "t.toml:1:7: error while parsing"},
    {"[|a]\n", "t.toml:1:2: error while parsing"},
    {"[[[a]]]\n", "t.toml:1:3: error while parsing"},
    {"a = [4x \xd1\x8c\n", "t.toml:1:"},
    {"a = \xff\n", "t.toml:1:4: "},
    {"workers = 1\nworkers = 2\n", "t.toml:2:11: error while parsing"},
    {SERVICE "[service.a]\n", "t.toml:4:1: error while parsing"},
    {"", "t.toml: found no service, expected at least one section [service.NAME]\n"},
    {"[service]\n", "t.toml: found no service, expected at least one section [service.NAME]\n"},
    /* keys */
    {"wrokers = 1\n" SERVICE, "t.toml:1:1: wrokers: found an unknown key, expected \"workers\"\n"},
    {SERVICE "blance = \"x\"\n", "t.toml:4:1: service.a.blance: found an unknown key, expected \"balance\"\n"},
    {"[lgo]\n" SERVICE, "t.toml:1:2: lgo: found an unknown key, expected \"log\"\n"},
    {SERVICE "idle = \"1s\"\n",
     "t.toml:4:1: service.a.idle: found an unknown key, expected \"idle\" in [service.NAME.timeouts]\n"},
    {"listen = 1\n" SERVICE, "t.toml:1:1: listen: found an unknown key, expected \"listen\" in [service.NAME]\n"},
    {SERVICE "workers = 3\n", "t.toml:4:1: service.a.workers: found an unknown key, expected \"workers\" above all sections\n"},
    {TOP "zzzzzzzz = 3\n", "t.toml:5:1: log.zzzzzzzz: found an unknown key, expected \"target\", \"format\" or \"level\"\n"},
    {"\"service.*.listen\" = 1\n" SERVICE,
     "t.toml:1:1: service.*.listen: found an unknown key, expected \"workers\", \"user\", "
     "\"state_dir\", \"engine\", \"handshake\", \"tcp_congestion\", \"busy_poll_us\", \"drain_timeout\", \"watch_interval\", "
     "\"buffer_memory\", \"handshake_memory\", \"log\", \"debug\", \"otlp\", \"admin\", \"tickets\", \"listener\", \"acme\", \"acme_tls\" or \"service\"\n"},
    {"log = 3\n" SERVICE, "t.toml:1:7: log: found a value, expected a section [log]\n"},
    {"service = 3\n", "t.toml:1:11: service: found a value, expected a section [service.NAME]\n"},
    {"[[service]]\nlisten = 1\n", "t.toml:1:1: service: found an array, expected a section [service.NAME]\n"},
    {"[service]\nlisten = [\"1.2.3.4:5\"]\n",
     "t.toml:2:10: service.listen: found a value, expected a section [service.NAME]\n"},
    {"[service.\"A b\"]\n", "t.toml:1:10: service.A b: found \"A b\", expected a name of 1 to 64 of a-z, 0-9, '_' and '-'\n"},
    /* types and single values */
    {"workers = \"2\"\n" SERVICE, "t.toml:1:11: workers: found \"2\", expected an integer\n"},
    {"workers = 65\n" SERVICE, "t.toml:1:11: workers: found 65, expected an integer from 0 to 64\n"},
    {"workers = -1\n" SERVICE, "t.toml:1:11: workers: found -1, expected an integer from 0 to 64\n"},
    {"state_dir = \"\"\n" SERVICE, "t.toml:1:13: state_dir: found \"\", expected a file name of 1 to 4095 bytes\n"},
    {"engine = \"fast\"\n" SERVICE, "t.toml:1:10: engine: found \"fast\", expected \"auto\", \"libcrypto\" or \"mb\"\n"},
    {"handshake = \"own\"\n" SERVICE, "t.toml:1:13: handshake: found \"own\", expected \"auto\" or \"libssl\"\n"},
    {"handshake = true\n" SERVICE, "t.toml:1:13: handshake: found true, expected \"auto\" or \"libssl\"\n"},
    {"buffer_memory = 1\n" SERVICE,
     "t.toml:1:17: buffer_memory: found 1, expected a size like 4194304, \"64KiB\", \"256MiB\" or "
     "\"1GiB\", from \"1MiB\" to \"1024GiB\"\n"},
    {"handshake_memory = 0\n" SERVICE,
     "t.toml:1:20: handshake_memory: found 0, expected a size like 4194304, \"64KiB\", \"256MiB\" or "
     "\"1GiB\", from \"1MiB\" to \"1024GiB\"\n"},
    {"buffer_memory = true\n" SERVICE, "t.toml:1:17: buffer_memory: found true, expected a string or an integer\n"},
    {"drain_timeout = 10\n" SERVICE, "t.toml:1:17: drain_timeout: found 10, expected a string\n"},
    {"drain_timeout = \"10\"\n" SERVICE,
     "t.toml:1:17: drain_timeout: found \"10\", expected a duration like \"250ms\", \"10s\", \"5m\", \"1h\", or \"none\"\n"},
    {"watch_interval = \"900ms\"\n" SERVICE, "t.toml:1:18: watch_interval: found \"900ms\", expected at least \"1000ms\"\n"},
    {"drain_timeout = \"9999999h\"\n" SERVICE,
     "t.toml:1:17: drain_timeout: found \"9999999h\", expected at most 366 days, or \"none\"\n"},
    {"tcp_congestion = \"a-name-of-16-ch.\"\n" SERVICE,
     "t.toml:1:18: tcp_congestion: found \"a-name-of-16-ch.\", expected at most 15 bytes\n"},
    {TOP "target = \"\"\n",
     "t.toml:5:10: log.target: found \"\", expected \"stderr\", \"stdout\", \"journal\", \"syslog\" or a file name\n"},
    {TOP "format = \"xml\"\n", "t.toml:5:10: log.format: found \"xml\", expected \"text\", \"json\" or \"logfmt\"\n"},
    {TOP "level = 1979-05-27\n",
     "t.toml:5:9: log.level: found a date or a time, expected \"error\", \"warning\", \"info\" or \"debug\"\n"},
    {SERVICE "mode = \"tls\"\n", "t.toml:4:8: service.a.mode: found \"tls\", expected \"terminate\" or \"passthrough\"\n"},
    {SERVICE "min_version = 1.2\n", "t.toml:4:15: service.a.min_version: found 1.2, expected \"1.2\" or \"1.3\"\n"},
    {SERVICE "min_version = \"TLSv1.3\"\n",
     "t.toml:4:15: service.a.min_version: found \"TLSv1.3\", expected \"1.2\" or \"1.3\"; TLSv1.3 is 1.3 here\n"},
    {SERVICE "balance = \"LeastConn\"\n",
     "t.toml:4:11: service.a.balance: found \"LeastConn\", expected \"least-sessions\", \"round-robin\" or \"client-hash\"; "
     "LeastConn is least-sessions here\n"},
    {SERVICE "balance = \"TLSv1.3\"\n", /* another key's */
     "t.toml:4:11: service.a.balance: found \"TLSv1.3\", expected \"least-sessions\", \"round-robin\" or \"client-hash\"\n"},
    {SERVICE "cipher_suites = [\"ECDHE-RSA-AES128-GCM-SHA256\"]\ngroups = [\"prime256v1\"]\n",
     "t.toml:4:18: service.a.cipher_suites: found \"ECDHE-RSA-AES128-GCM-SHA256\", expected the name of an AEAD suite with ECDHE as in "
     "the IANA registry; ECDHE-RSA-AES128-GCM-SHA256 is TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 here\n"
     "t.toml:5:11: service.a.groups: found \"prime256v1\", expected the name of a key exchange group as in the IANA registry; "
     "prime256v1 is secp256r1 here\n"},
    {SERVICE "starttls = \"ftp\"\n",
     "t.toml:4:12: service.a.starttls: found \"ftp\", expected \"none\", \"postgresql\", \"ldap\", \"smtp\", \"lmtp\", \"imap\", \"pop3\", "
     "\"sieve\", \"nntp\", \"amqp\" or \"xmpp-client\"\n"},
    {SERVICE "starttls = true\n",
     "t.toml:4:12: service.a.starttls: found true, expected \"none\", \"postgresql\", \"ldap\", \"smtp\", \"lmtp\", \"imap\", \"pop3\", "
     "\"sieve\", \"nntp\", \"amqp\" or \"xmpp-client\"\n"},
    {SERVICE "mode = \"passthrough\"\nstarttls = \"imap\"\n",
     "t.toml:5:12: service.a.starttls: found \"imap\", expected mode \"terminate\" with it: a backend with TLS of its own would "
     "greet a second time\n"},
    {SERVICE "cancel = \"forward\"\n", "t.toml:4:10: service.a.cancel: found \"forward\", expected \"refuse\" or \"pass\"\n"},
    {SERVICE "strict_sni = 1\n", "t.toml:4:14: service.a.strict_sni: found 1, expected true or false\n"},
    {SERVICE "balance = \"fastest\"\n",
     "t.toml:4:11: service.a.balance: found \"fastest\", expected \"least-sessions\", \"round-robin\" or \"client-hash\"\n"},
    {SERVICE "truncation = \"\\u0007\"\n", "t.toml:4:14: service.a.truncation: found \" \", expected \"close\" or \"reset\"\n"},
    {SERVICE "timeouts.keepalive = \"10h\"\n",
     "t.toml:4:22: service.a.timeouts.keepalive: found \"10h\", expected at most \"32767s\", or \"none\"\n"},
    {SERVICE "timeouts.keepalive = \"999ms\"\n",
     "t.toml:4:22: service.a.timeouts.keepalive: found \"999ms\", expected at least \"1000ms\"\n"},
    {SERVICE "timeouts.idle = \"0s\"\n", "t.toml:4:17: service.a.timeouts.idle: found \"0s\", expected at least \"1ms\"\n"},
    {SERVICE "limits.sessions = -5\n",
     "t.toml:4:19: service.a.limits.sessions: found -5, expected an integer from 0 to 9223372036854775807\n"},
    /* lists */
    {"[service.a]\nlisten = \"127.0.0.1:0\"\nbackends = [\"unix:/x\"]\n",
     "t.toml:2:10: service.a.listen: found \"127.0.0.1:0\", expected an array\n"},
    {"[service.a]\nlisten = [\"localhost:1\", 443]\nbackends = [\"unix:/x\"]\n",
     "t.toml:2:11: service.a.listen: found \"localhost:1\", expected \"IP:PORT\", \"[IPv6]:PORT\", \":PORT\" for all addresses of both, or \"unix:/PATH\"\n"
     "t.toml:2:26: service.a.listen: found 443, expected a string\n"},
    {"[service.a]\nlisten = [\"[::1]:9\", \"[0::1]:9\"]\nbackends = [\"unix:/x\"]\n",
     "t.toml:2:22: service.a.listen: found \"[0::1]:9\", expected each address once\n"},
    {HEAD "backends = [\"http://x\"]\n", "t.toml:3:13: service.a.backends: found \"http://x\", expected \"unix:/PATH\", "
                                         "\"unix:@NAME\" or \"tcp:HOST:PORT\"\n"},
    {HEAD "backends = [\"unix:/x\", \"unix:/x\"]\n",
     "t.toml:3:24: service.a.backends: found \"unix:/x\", expected each item once\n"},
    {HEAD "backends = [\"unix:\"]\n",
     "t.toml:3:13: service.a.backends: found \"unix:\", expected a socket's path behind \"unix:\", "
     "or '@' and an abstract name\n"},
    {HEAD "backends = [\"tcp:1.2.3.4:0\"]\n",
     "t.toml:3:13: service.a.backends: found \"tcp:1.2.3.4:0\", expected \"tcp:HOST:PORT\" "
     "or \"tcp:[IPv6]:PORT\" with a port from 1 to 65535\n"},
    {SERVICE "alpn = [\"h2\", \"\"]\n",
     "t.toml:4:15: service.a.alpn: found \"\", expected a protocol name of 1 to 255 bytes (RFC 7301)\n"},
    {SERVICE "names = []\nmatch_alpn = []\nunknown = \"drop\"\n",
     "t.toml:4:9: service.a.names: found an empty array, expected at least one name, or no \"names\"\n"
     "t.toml:5:14: service.a.match_alpn: found an empty array, expected at least one protocol, or no \"match_alpn\"\n"
     "t.toml:6:11: service.a.unknown: found \"drop\", expected \"alert\" or \"reset\"\n"},
    {SERVICE "names = [\"a.org\", \"A.org\", 3]\n", "t.toml:4:19: service.a.names: found \"A.org\", expected each name once\n"
                                                    "t.toml:4:28: service.a.names: found 3, expected a string\n"},
    {SERVICE "names = [\"a.*.org\"]\n",
     "t.toml:4:10: service.a.names: found \"a.*.org\", expected a host name, which may begin with \"*.\" (one label) or \"**.\" "
     "(any number of labels), \"*\" (every client), or \"\" (clients that ask for no name)\n"},
    {SERVICE "names = [\"**\", \"*.\", \"***.a\", \"*a.org\", \"http://a\", \"\u00fc.org\"]\n",
     "t.toml:4:10: service.a.names: found \"**\""},
    {SERVICE "alpn = [\"h2\"]\nmatch_alpn = [\"h2\", \"p\"]\n",
     "t.toml:5:14: service.a.match_alpn: found \"p\", expected protocols of \"alpn\" only\n"},
    {SERVICE "certificates = [\"\", 3, { cert = \"a\" }]\n",
     "t.toml:4:17: service.a.certificates: found \"\", expected { cert = \"FILE\", key = \"FILE\" }, or the name of a directory or file\n"
     "t.toml:4:21: service.a.certificates: found 3, expected { cert = \"FILE\", key = \"FILE\" }, or the name of a directory or file\n"
     "t.toml:4:24: service.a.certificates: found no \"key\", expected { cert = \"FILE\", key = \"FILE\" }\n"},
    {SERVICE "certificates = [{ cert = \"a\", kye = \"b\", key = 4 }]\n",
     "t.toml:4:31: service.a.certificates.kye: found an unknown key, expected \"key\"\n"
     "t.toml:4:48: service.a.certificates: found 4, expected the name of the key's file\n"},
    {SERVICE "certificates = [{ cert = \"a\", key = \"b\", passphrase = 3 }]\n",
     "t.toml:4:55: service.a.certificates: found 3, expected the name of the passphrase's file\n"},
    {SERVICE "cipher_suites = [\"TLS_AES_128_GCM_SHA265\"]\n",
     "t.toml:4:18: service.a.cipher_suites: found \"TLS_AES_128_GCM_SHA265\", expected the name of an AEAD suite with ECDHE as in "
     "the IANA registry, perhaps \"TLS_AES_128_GCM_SHA256\"\n"},
    {SERVICE "groups = [\"x25591\", \"X25519MLKEM768\", \"P-256\", \"secp256r1\"]\n",
     "t.toml:4:11: service.a.groups: found \"x25591\", expected the name of a key exchange group as in the IANA registry, perhaps "
     "\"x25519\"\n"
     "t.toml:4:21: service.a.groups: found \"X25519MLKEM768\", expected a group that this machine's libssl has\n"
     "t.toml:4:48: service.a.groups: found \"secp256r1\", expected each item once\n"},
    {SERVICE "proxy_protocol.tlvs = [\"sll\"]\n",
     "t.toml:4:24: service.a.proxy_protocol.tlvs: found \"sll\", expected \"ssl\", \"authority\", \"alpn\", \"unique-id\", "
     "\"crc32c\", \"client-name\" or \"client-cert\"\n"},
    {SERVICE "proxy_protocol.trust = [\"10.0.0.1/8\"]\n",
     "t.toml:4:25: service.a.proxy_protocol.trust: found \"10.0.0.1/8\", expected an address or a network like \"10.0.0.0/8\" with "
     "no bits set behind its length, or \"unix\" for processes at Unix sockets\n"},
    /* later versions */
    {"busy_poll_us = 10001\n" SERVICE, "t.toml:1:16: busy_poll_us: found 10001, expected an integer from 0 to 10000\n"},
    {"[admin]\nsocket_mode = \"0066\"\nlisten = \"1.2.3.4:5\"\n" SERVICE,
     "t.toml:2:15: admin.socket_mode: found \"0066\", expected an octal mode like \"0600\" or \"0660\"\n"
     "t.toml:3:10: admin.listen: found \"1.2.3.4:5\", expected a loopback address like \"127.0.0.1:9901\", or "
     "scope = \"health\" beside it\n"},
    {"[admin]\nscope = \"metrics\"\nlisten = \"1.2.3.4:5\"\n" SERVICE,
     "t.toml:2:9: admin.scope: found \"metrics\", expected \"all\" or \"health\"\n"
     "t.toml:3:10: admin.listen: found \"1.2.3.4:5\", expected a loopback address like \"127.0.0.1:9901\", or "
     "scope = \"health\" beside it\n"},
    {"[admin]\nlisten = \"here\"\n" SERVICE,
     "t.toml:2:10: admin.listen: found \"here\", expected an address like \"127.0.0.1:9901\" or \"[::1]:9901\"\n"},
    {"[admin]\nsocket_mode = \"0755\"\nsocket_owner = \"no-such-one\"\nsocket_group = \"no-such-one\"\n" SERVICE,
     "t.toml:2:15: admin.socket_mode: found \"0755\", expected an octal mode like \"0600\" or \"0660\"\n"
     "t.toml:3:16: admin.socket_owner: found \"no-such-one\", expected a user that this machine has\n"
     "t.toml:4:16: admin.socket_group: found \"no-such-one\", expected a group that this machine has\n"},
    {"[admin]\nsocket = \"/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
     "0123456\"\n" SERVICE,
     "t.toml:2:10: admin.socket: found "
     "\"/0123456789012345678901234567890123456789012345678901234567890123456789012345678...\", expected a file name of at most 107 bytes, directory "
     "included, or \"\" for no socket\n"},
    {"[admin]\nsokcet = 1\n" SERVICE, "t.toml:2:1: admin.sokcet: found an unknown key, expected \"socket\"\n"},
    {"[tickets]\nsecret_file = \"\"\n" SERVICE,
     "t.toml:2:15: tickets.secret_file: found \"\", expected a file name of 1 to 4095 bytes\n"},
    {"[tickets]\nsecret_file = 5\n" SERVICE, "t.toml:2:15: tickets.secret_file: found 5, expected a string\n"},
    /* client authentication */
    {SERVICE "client_auth.mode = \"required\"\n",
     "t.toml:4:20: service.a.client_auth.mode: found \"required\" without \"ca\", expected the file of the CA that issues the "
     "clients' certificates\n"},
    {SERVICE "client_auth.mode = \"must\"\n",
     "t.toml:4:20: service.a.client_auth.mode: found \"must\", expected \"none\", \"optional\" or \"required\"\n"},
    {SERVICE "client_auth = {mode = \"optional\", ca = \"c\", allow = []}\n",
     "t.toml:4:53: service.a.client_auth.allow: found an empty array, expected at least one rule; leave \"allow\" out to let "
     "in every certificate of the CA\n"},
    {SERVICE "client_auth = {mode = \"optional\", ca = \"c\", depth = 17}\n",
     "t.toml:4:53: service.a.client_auth.depth: found 17, expected an integer from 0 to 16\n"},
    {SERVICE "client_auth = {mode = \"optional\", ca = \"c\", allow = [\"cn:a\", \"cn:a\", \"dns:*\", 5]}\n",
     "t.toml:4:62: service.a.client_auth.allow: found \"cn:a\", expected each item once\n"
     "t.toml:4:70: service.a.client_auth.allow: found \"dns:*\", expected \"dns:\" and a host name in ASCII, with \"*.\" in "
     "front for any one label\n"
     "t.toml:4:79: service.a.client_auth.allow: found 5, expected a string\n"},
    {SERVICE "mode = \"passthrough\"\nclient_auth = {mode = \"required\", ca = \"c\"}\n",
     "t.toml:5:23: service.a.client_auth.mode: found \"required\", expected \"none\" in passthrough mode, where certificates "
     "are the backend's business\n"},
    {SERVICE "limits.bytes_per_second_per_client = 1\n",
     "t.toml:4:38: service.a.limits.bytes_per_second_per_client: found 1, expected 0 (no limit) or an integer from 1024 "
     "to 1125899906842624\n"},
    /* keys against each other */
    {"[service.a]\n", "t.toml:1:1: service.a.listen: found none, expected at least one \"IP:PORT\"\n"
                      "t.toml:1:1: service.a.backends: found none, expected at least one like \"unix:/run/app.sock\"\n"},
    {"[service.a]\nlisten = []\nbackends = []\n",
     "t.toml:2:10: service.a.listen: found none, expected at least one \"IP:PORT\"\n"
     "t.toml:3:12: service.a.backends: found none, expected at least one like \"unix:/run/app.sock\"\n"},
    {SERVICE "min_version = \"1.3\"\ncipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]\n",
     "t.toml:5:17: service.a.cipher_suites: found no suite of TLS 1.3, expected one since \"min_version\" is \"1.3\"\n"},
    {SERVICE "proxy_protocol.accept = \"required\"\n",
     "t.toml:4:25: service.a.proxy_protocol.accept: found \"required\" without \"trust\", expected the networks that may send a PROXY "
     "header\n"},
    {"[service.a]\nlisten = [\"0.0.0.0:7\", \"[::]:7\", \"1.2.3.4:7\"]\nbackends = [\"unix:/x\"]\n",
     "t.toml:2:34: service.a.listen: found \"1.2.3.4:7\", expected no address that overlaps with \"0.0.0.0:7\" of service.a.listen\n"},
    {"[service.a]\nlisten = [\"1.2.3.4:7\"]\nbackends = [\"unix:/x\"]\n[service.b]\nlisten = [\"1.2.3.4:7\"]\nbackends = [\"unix:/x\"]\n"
     "starttls = \"ldap\"\ntimeouts.handshake = \"1s\"\nproxy_protocol.accept = \"required\"\nproxy_protocol.trust = [\"::1\"]\n",
     "t.toml:9:25: service.b.proxy_protocol.accept: differs from service \"a\", expected the same since both listen on 1.2.3.4:7\n"
     "t.toml:7:12: service.b.starttls: differs from service \"a\", expected the same since both listen on 1.2.3.4:7\n"
     "t.toml:8:22: service.b.timeouts.handshake: differs from service \"a\", expected the same since both listen on 1.2.3.4:7\n"},
    {"[service.a]\nlisten = [\"1.2.3.4:7\"]\nbackends = [\"unix:/x\"]\nproxy_protocol = {accept = \"required\", trust = [\"1.0.0.0/8\"]}\n"
     "[service.b]\nlisten = [\"1.2.3.4:7\"]\nbackends = [\"unix:/x\"]\nproxy_protocol = {accept = \"required\", trust = [\"2.0.0.0/8\"]}\n",
     "t.toml:8:48: service.b.proxy_protocol.trust: differs from service \"a\", expected the same since both listen on 1.2.3.4:7\n"},
    {SERVICE "starttls = \"ldap\"\n[listener.\"127.0.0.1:0\"]\nredirect_http = true\n",
     "t.toml:6:17: listener.\"127.0.0.1:0\".redirect_http: has no effect beside starttls = \"ldap\" of the services there\n"},
    {SERVICE "starttls = \"ldap\"\n[listener.\"127.0.0.1:0\"]\nfallback = \"p\"\n"
             "[service.p]\nmode = \"passthrough\"\nbackends = [\"unix:/x\"]\n",
     "t.toml:6:12: listener.\"127.0.0.1:0\".fallback: has no effect beside starttls = \"ldap\" of the services there\n"},
    {SERVICE "[listener.\"127.0.0.1:0\"]\nbaklog = 1\n",
     "t.toml:5:1: listener.\"127.0.0.1:0\".baklog: found an unknown key, expected \"backlog\"\n"},
    {SERVICE "[listener.\"127.0.0.1:0\"]\nbacklog = 0\n",
     "t.toml:5:11: listener.\"127.0.0.1:0\".backlog: found 0, expected an integer from 1 to 2147483647\n"},
    {SERVICE "[listener.\"127.0.0.1:0\"]\nbacklog = \"1\"\n",
     "t.toml:5:11: listener.\"127.0.0.1:0\".backlog: found \"1\", expected an integer\n"},
    {SERVICE "[listener.\"127.0.0.1:0\"]\nidle = \"1s\"\n",
     "t.toml:5:1: listener.\"127.0.0.1:0\".idle: found an unknown key, expected \"idle\" in [service.NAME.timeouts]\n"},
    {SERVICE "backlog = 1\n",
     "t.toml:4:1: service.a.backlog: found an unknown key, expected \"backlog\" in [listener.\"ADDRESS\"]\n"},
    {SERVICE "[listener.\"127.0.0.1:1\"]\nbacklog = 1\n",
     "t.toml:4:11: listener.\"127.0.0.1:1\": found an address where no service listens, expected \"127.0.0.1:0\"\n"},
    {SERVICE "[listener.\"[2001:db8::7]:443\"]\n",
     "t.toml:4:11: listener.\"[2001:db8::7]:443\": found an address where no service listens, expected one of \"127.0.0.1:0\"\n"},
    {SERVICE "[listener.web]\nbacklog = 1\n",
     "t.toml:4:11: listener.\"web\": found \"web\", expected \"IP:PORT\", \"[IPv6]:PORT\", \":PORT\" for all addresses of both, or \"unix:/PATH\", in quotes\n"},
    {SERVICE "[listener.127.0.0.1]\nbacklog = 1\n",
     "t.toml:4:11: listener.\"127\": found \"127\", expected \"IP:PORT\", \"[IPv6]:PORT\", \":PORT\" for all addresses of both, or \"unix:/PATH\", in quotes\n"},
#define ALONE(listen) "[service.a]\nlisten = [" listen "]\nbackends = [\"unix:/x\"]\n" /* lines 1 to 3 */
    {ALONE("\":7\", \"*:7\""), "t.toml:2:17: service.a.listen: found \"*:7\", expected each address once\n"},
    {ALONE("\":7\", \"0.0.0.0:7\""),
     "t.toml:2:17: service.a.listen: found \"0.0.0.0:7\", expected no address that overlaps with \"*:7\" of service.a.listen\n"},
    {ALONE("\"1.2.3.4:7\", \"*:7\""),
     "t.toml:2:24: service.a.listen: found \"*:7\", expected no address that overlaps with \"1.2.3.4:7\" of service.a.listen\n"},
    {ALONE("\"[::]:7\", \"*:7\""),
     "t.toml:2:21: service.a.listen: found \"*:7\", expected no address that overlaps with \"[::]:7\" of service.a.listen\n"},
    {ALONE("\"[::]:7\", \"0.0.0.0:7\"") "[listener.\"[::]:7\"]\nv6only = false\n",
     "t.toml:2:21: service.a.listen: found \"0.0.0.0:7\", expected no address that overlaps with \"[::]:7\" of service.a.listen\n"},
    {ALONE("\"**:7\""),
     "t.toml:2:11: service.a.listen: found \"**:7\", expected \"IP:PORT\", \"[IPv6]:PORT\", \":PORT\" for all addresses of both, or \"unix:/PATH\"\n"},
    {ALONE("\"*\""),
     "t.toml:2:11: service.a.listen: found \"*\", expected \"IP:PORT\", \"[IPv6]:PORT\", \":PORT\" for all addresses of both, or \"unix:/PATH\"\n"},
    {ALONE("\"unix:\""),
     "t.toml:2:11: service.a.listen: found \"unix:\", expected a socket's path behind \"unix:\", or '@' and an abstract name\n"},
    {ALONE("\"unix:@\""), "t.toml:2:11: service.a.listen: found \"unix:@\", expected a socket's path behind"},
    {ALONE("\"[fe80::1]:443\""),
     "t.toml:2:11: service.a.listen: found \"[fe80::1]:443\", expected a link-local address with its interface"},
    {ALONE("\"[fe80::1%no-such-if]:443\""),
     "t.toml:2:11: service.a.listen: found \"[fe80::1%no-such-if]:443\", expected an interface behind '%' that this machine has, with IPv6 (it has no \"no-such-if\")"},
    {ALONE("\"[fe80::1%]:443\""),
     "t.toml:2:11: service.a.listen: found \"[fe80::1%]:443\", expected an interface behind '%' that this machine has"},
    {ALONE("\"[fe80::1%an-interface-with-a-long-name]:443\""),
     "t.toml:2:11: service.a.listen: found \"[fe80::1%an-interface-with-a-long-name]:443\", expected an interface behind '%' that this machine has"},
    {ALONE("\"[2001:db8::1%lo]:443\""),
     "t.toml:2:11: service.a.listen: found \"[2001:db8::1%lo]:443\", expected no interface but behind an address of fe80::/10"},
    {ALONE("\"[fe80::1%lo:443\""), "t.toml:2:11: service.a.listen: found \"[fe80::1%lo:443\", expected \"IP:PORT\""},
    {ALONE("\"fe80::1%lo:443\""), "t.toml:2:11: service.a.listen: found \"fe80::1%lo:443\", expected \"IP:PORT\""},
    {HEAD "backends = [\"tcp:[fe80::1%no-such-if]:80\"]\n",
     "t.toml:3:13: service.a.backends: found \"tcp:[fe80::1%no-such-if]:80\", expected an interface behind '%'"},
    {HEAD "backends = [\"tcp:[fe80::1]:80\"]\n",
     "t.toml:3:13: service.a.backends: found \"tcp:[fe80::1]:80\", expected a link-local address with its interface"},
    {ALONE("\"*:70000\""), "t.toml:2:11: service.a.listen: found \"*:70000\", expected \"IP:PORT\""},
    {ALONE("\"\""), "t.toml:2:11: service.a.listen: found \"\", expected \"IP:PORT\""},
    {ALONE("\":7\"") "[listener.\":7\"]\nv6only = true\n",
     "t.toml:5:10: listener.\"*:7\".v6only: found true, expected \"[::]:7\" in \"listen\" for IPv6 alone: \"*:7\" is both\n"},
    {ALONE("\"[::1]:7\"") "[listener.\"[::1]:7\"]\nv6only = false\n",
     "t.toml:5:10: listener.\"[::1]:7\".v6only: found false, expected it for \"[::]:PORT\" only: \"[::1]:7\" is of one family\n"},
    {ALONE("\"1.2.3.4:7\"") "[listener.\"1.2.3.4:7\"]\nmptcp = 1\n",
     "t.toml:5:9: listener.\"1.2.3.4:7\".mptcp: found 1, expected true or false\n"},
    {ALONE("\"1.2.3.4:7\"") "[listener.\"1.2.3.4:7\"]\ndevice = \"an-interface-xyz\"\n",
     "t.toml:5:10: listener.\"1.2.3.4:7\".device: found \"an-interface-xyz\", expected at most 15 bytes\n"},
    {SERVICE "[listener]\nbacklog = 1\n",
     "t.toml:5:11: listener.\"backlog\": found a value, expected a section [listener.\"ADDRESS\"]\n"},
    {"listener = 1\n" SERVICE, "t.toml:1:12: listener: found a value, expected a section [listener.\"ADDRESS\"]\n"},
    /* the admin sockets are no service's */
    {"[admin]\nlisten = \"127.0.0.1:7\"\n" ALONE("\"127.0.0.1:7\""),
     "t.toml:2:10: admin.listen: found \"127.0.0.1:7\" of service.a.listen, expected an address of its own\n"},
    {"[admin]\nlisten = \"127.0.0.1:7\"\n[service.a]\nlisten = [\":7\"]\nbackends = [\"unix:/x\"]\n",
     "t.toml:2:10: admin.listen: found \"*:7\" of service.a.listen, expected an address of its own\n"},
    {"[admin]\nsocket = \"/s\"\n[service.a]\nlisten = [\"unix:/s\"]\nbackends = [\"unix:/x\"]\n",
     "t.toml:2:10: admin.socket: found \"unix:/s\" of service.a.listen, expected a path of its own\n"},
    {"[service.a]\nlisten = [\"[::1]:7\"]\nbackends = [\"unix:/x\"]\n[listener.\"[::1]:7\"]\n[listener.\"[0:0::1]:7\"]\n",
     "t.toml:5:11: listener.\"[0:0::1]:7\": found the same address again, expected one section for \"[::1]:7\"\n"},
};

/* The lines that are no warnings. */
static void error_lines(const struct diagnostics *f, char *to, size_t cap) {
    struct text t = text_of(to, cap);
    for (const char *p = f->text; p && *p;) {
        size_t n = strcspn(p, "\n") + 1;
        struct span line = span_of(p, n);
        if (!memmem(p, n, ": warning: ", 11))
            text_add_span(&t, line);
        p += n;
    }
}

static void test_broken_texts_are_reported_exactly(void **state) {
    unsigned wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char lines[4096];
        struct diagnostics f;
        diagnostics_init(&f);
        struct conf *c = load_text(table[i].toml, strlen(table[i].toml), &f);
        error_lines(&f, lines, sizeof(lines));
        size_t len = strlen(table[i].lines);
        bool whole = table[i].lines[len - 1] == '\n';
        if (whole ? strcmp(lines, table[i].lines) != 0 : strncmp(lines, table[i].lines, len) != 0) {
            print_error("%s\n-- gave:\n%s-- instead of:\n%s\n", table[i].toml, lines, table[i].lines);
            wrong++;
        }
        assert_null(c);
        diagnostics_fini(&f);
    }
    assert_int_equal(wrong, 0);
}

static struct conf *load_ok(const char *toml) {
    struct diagnostics f;
    diagnostics_init(&f);
    struct conf *c = load_text(toml, strlen(toml), &f);
    if (f.errors)
        print_error("%s", f.text);
    assert_non_null(c);
    diagnostics_fini(&f);
    return c;
}

static void test_defaults(void **state) {
    struct conf *c = load_ok(SERVICE);
    const struct conf_service *s = &c->services[0];
    assert_in_range(c->workers, 1, WORKERS_MAX);
    assert_string_equal(c->engine, "auto");
    assert_int_equal(c->handshake, HANDSHAKE_AUTO);
    assert_string_equal(c->tcp_congestion, "");
    assert_int_equal(c->busy_poll_us, 0);
    assert_int_equal(c->drain_ms, 10000);
    assert_int_equal(c->watch_ms, 30000);
    assert_in_range(c->buffer_memory, 1u << 20, 256u << 20); /* by the memory of this machine */
    assert_in_range(c->handshake_memory, 1u << 20, 1u << 30);
    assert_int_equal(c->log_target, LOG_TO_STDERR);
    assert_int_equal(c->log_format, LOG_AS_TEXT);
    assert_int_equal(c->log_level, LOG_LEVEL_INFO);
    assert_non_null(c->admin.socket);
    assert_false(c->admin.socket_given);
    assert_int_equal(c->admin.rights.mode, 0600);
    assert_int_equal(c->admin.rights.uid, UINT32_MAX);
    assert_int_equal(c->admin.listen.family, AF_UNSPEC);
    assert_int_equal(c->nservices, 1);
    assert_string_equal(s->name, "a");
    assert_int_equal(s->mode, MODE_TERMINATE);
    assert_int_equal(s->min_version, 0x0303);
    assert_int_equal(s->nsuites, 3);
    assert_int_equal(s->ngroups, 4); /* without the one that libssl lacks */
    assert_int_equal(s->groups[0], 0x001d);
    assert_int_equal(s->groups[2], 0x0018);
    assert_int_equal(s->groups[3], 0x0019);
    assert_false(s->strict_sni);
    assert_int_equal(s->starttls, STARTTLS_NONE);
    assert_false(s->cancel_pass);
    assert_int_equal(s->balance, BALANCE_LEAST_SESSIONS);
    assert_int_equal(s->truncation, TRUNCATION_CLOSE);
    assert_int_equal(s->proxy_send, PROXY_SEND_NONE);
    assert_int_equal(s->proxy_tlvs, 31 | TLV_CLIENT_NAME);
    assert_false(s->proxy_accept);
    assert_int_equal(s->handshake_ms, 10000);
    assert_int_equal(s->connect_ms, 3000);
    assert_int_equal(s->idle_ms, 600000);
    assert_int_equal(s->linger_ms, 5000);
    assert_int_equal(s->max_sessions + s->max_handshakes_per_client, 0);
    assert_int_equal(s->max_sessions_per_client, 1024);
    assert_int_equal(s->keepalive_ms, 120000);
    assert_int_equal(s->half_closed_ms, 30000);
    assert_int_equal(s->partial_record_ms, 30000);
    assert_int_equal(s->nalpn, 0);
    conf_free(c);
}

static void test_client_auth_reaches_its_fields(void **state) {
    struct conf *c = load_ok("[service.b]\nlisten = [\"127.0.0.1:0\"]\nbackends = [\"unix:/x\"]\n[service.b.client_auth]\n"
                             "mode = \"optional\"\nca = \"ca\"\ncrl = \"/crl\"\ndepth = 2\nallow = [\"cn:a\", \"dns:*.b\"]\n");
    const struct conf_service *s = &c->services[0];
    assert_int_equal(s->client_auth, CLIENT_AUTH_OPTIONAL);
    assert_string_equal(s->client_ca, "/etc/tls-off/ca");
    assert_string_equal(s->client_crl, "/crl");
    assert_int_equal(s->client_depth, 2);
    assert_int_equal(s->nclient_allow, 2);
    assert_string_equal(s->client_allow[1], "dns:*.b");
    conf_free(c);
}

/* Of the text of test_every_key_reaches_its_field(). */
static void assert_top_keys(const struct conf *c) {
    const struct conf_service *s = &c->services[0];
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->state_dir, "/etc/tls-off/state");
    assert_string_equal(c->engine, "libcrypto");
    assert_int_equal(c->handshake, HANDSHAKE_AUTO);
    assert_string_equal(c->tcp_congestion, "reno");
    assert_int_equal(c->busy_poll_us, 50);
    assert_int_equal(c->drain_ms, 60000);
    assert_true(c->watch_ms == CONF_NEVER);
    assert_int_equal(c->buffer_memory, 64 << 20);
    assert_int_equal(c->handshake_memory, 32 << 20);
    assert_int_equal(c->log_target, LOG_TO_FILE);
    assert_string_equal(c->log_file, "/etc/tls-off/x.log");
    assert_int_equal(c->nticket_secrets, 1);
    assert_string_equal(c->ticket_secrets[0], "/etc/tls-off/t.secret");
    assert_int_equal(c->log_format, LOG_AS_LOGFMT);
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(c->admin.socket, "/etc/tls-off/a.sock");
    assert_true(c->admin.socket_given);
    assert_int_equal(c->admin.rights.mode, 0660);
    assert_int_equal(c->admin.rights.uid, 0);
    assert_int_equal(c->admin.rights.gid, 0);
    assert_int_equal(c->admin.listen.family, AF_INET6);
    assert_int_equal(c->admin.listen.port, 9901);
    assert_int_equal(c->nservices, 2);
    assert_string_equal(s->name, "b"); /* in the order of the file */
    assert_int_equal(c->nlisteners, 4);
    assert_int_equal(s->nlisteners, 4);
    assert_int_equal(c->services[1].nlisteners, 1);
    assert_int_equal(c->services[1].listeners[0], s->listeners[3]);
    assert_int_equal(c->services[1].mode, MODE_PASSTHROUGH);
}

static void assert_service_keys(const struct conf_service *s) {
    assert_int_equal(s->nbackends, 6);
    assert_string_equal(s->backends[1].path, "/etc/tls-off/y");
    assert_string_equal(s->backends[1].text, "unix:y");
    assert_int_equal(s->backends[2].kind, BACKEND_UNIX_ABSTRACT);
    assert_string_equal(s->backends[2].path, "z");
    assert_false(s->backends[3].is_name);
    assert_int_equal(s->backends[3].addr.port, 80);
    assert_string_equal(s->backends[4].path, "::1");
    assert_int_equal(s->backends[4].addr.family, AF_INET6);
    assert_true(s->backends[5].is_name);
    assert_string_equal(s->backends[5].path, "db-1.lan");
    assert_int_equal(s->backends[5].port, 82);

    assert_int_equal(s->ncerts, 2);
    assert_string_equal(s->certs[0].cert, "/c");
    assert_string_equal(s->certs[0].key, "/etc/tls-off/k");
    assert_string_equal(s->certs[0].passphrase, "/etc/tls-off/p");
    assert_string_equal(s->certs[1].cert, "/etc/tls-off/d/");
    assert_null(s->certs[1].key);
    assert_null(s->certs[1].passphrase);
    assert_int_equal(s->nalpn, 2);
    assert_string_equal(s->alpn[1], "http/1.1");
    assert_int_equal(s->min_version, 0x0304);
    assert_int_equal(s->nsuites, 1);
    assert_int_equal(s->suites[0], 0x1303);
    assert_int_equal(s->ngroups, 2);
    assert_int_equal(s->groups[0], 0x0018);
    assert_int_equal(s->groups[1], 0x001d);
    assert_true(s->strict_sni);
    assert_int_equal(s->starttls, STARTTLS_POSTGRESQL);
    assert_true(s->cancel_pass);
    assert_int_equal(s->balance, BALANCE_CLIENT_HASH);
    assert_int_equal(s->truncation, TRUNCATION_RESET);
    assert_int_equal(s->proxy_send, PROXY_SEND_V2);
    assert_int_equal(s->proxy_tlvs, TLV_ALPN | TLV_CRC32C);
    assert_true(s->proxy_accept);
    assert_int_equal(s->nproxy_trust, 2);
    assert_int_equal(s->proxy_trust[1].bits, 128);
    assert_int_equal(s->handshake_ms, 250);
    assert_int_equal(s->connect_ms, 7200000);
    assert_true(s->idle_ms == CONF_NEVER);
    assert_int_equal(s->linger_ms, 0);
    assert_int_equal(s->keepalive_ms, 30000);
    assert_int_equal(s->half_closed_ms, CONF_NEVER);
    assert_int_equal(s->partial_record_ms, 7000);
    assert_int_equal(s->max_sessions, 1);
    assert_int_equal(s->max_sessions_per_client, 2);
    assert_int_equal(s->max_bytes_per_client, 1024);
    assert_int_equal(s->max_handshakes_per_client, 3);
    assert_int_equal(s->max_sessions_per_name, 4);
    assert_int_equal(s->max_handshakes, 5);
    assert_int_equal(s->max_handshakes_per_name, 6);
    assert_int_equal(s->max_bytes, 2048);
    assert_int_equal(s->max_bytes_per_name, 4096);
}

/* Wherever it is in the file, however the address is written, and for each of several listeners with port 0. */
static void test_a_listener_has_a_section(void **state) {
    struct conf *c =
        load_ok("[listener.\"[0:0::1]:0\"]\nbacklog = 5\n[service.b]\nlisten = [\"[::1]:0\", \"127.0.0.1:0\", \"[::1]:0\"]\n"
                "backends = [\"unix:/x\"]\n[listener.\"127.0.0.1:0\"]\n");
    assert_int_equal(c->nlisteners, 3);
    assert_string_equal(c->listeners[0].name, "[::1]:0");
    assert_int_equal(c->listeners[0].backlog, 5);
    assert_int_equal(c->listeners[1].backlog, CONF_BACKLOG);
    assert_int_equal(c->listeners[2].backlog, 5);
    conf_free(c);
}

static void test_kinds_of_listeners(void **state) {
    struct conf *c = load_ok("[service.a]\nlisten = [\"*:443\", \":80\", \"[::]:81\", \"0.0.0.0:81\", \"[::]:82\"]\n"
                             "backends = [\"unix:/x\"]\n[listener.\":443\"]\nmptcp = true\ndevice = \"eth0\"\n"
                             "[listener.\"[::]:82\"]\nv6only = false\n");
    const struct conf_listener *l = c->listeners;
    assert_int_equal(c->nlisteners, 5);
    assert_string_equal(l[0].name, "*:443");
    assert_true(addr_is_any(&l[0].addr) && l[0].addr.family == AF_INET6 && l[0].addr.port == 443 && !l[0].v6only && l[0].mptcp);
    assert_string_equal(l[0].device, "eth0");
    assert_string_equal(l[1].name, "*:80");
    assert_true(!l[1].v6only && !l[1].mptcp && !l[1].device);
    assert_true(l[2].v6only && !l[4].v6only);
    conf_free(c);
}

/* What the services of a listener have in common, and the widest of what they may differ in. */
static void test_listeners_know_their_services(void **state) {
    struct conf *c = load_ok(
        "[service.c]\nlisten = [\"127.0.0.1:9\"]\nbackends = [\"unix:/x\"]\ntimeouts.handshake = \"1s\"\n"
        "limits = { sessions_per_client = 5, handshakes_per_client_per_second = 7 }\n"
        "[service.b]\nlisten = [\"127.0.0.1:8\", \"127.0.0.1:9\"]\nbackends = [\"unix:/x\"]\ntimeouts.handshake = \"1s\"\n"
        "limits = { sessions_per_client = 6 }\n");
    const struct conf_listener *both = &c->listeners[0], *one = &c->listeners[1];
    assert_int_equal(both->nservices, 2);
    assert_int_equal(both->services[0], 0);
    assert_int_equal(both->services[1], 1);
    assert_int_equal(both->handshake_ms, 1000);
    assert_int_equal(both->max_sessions_per_client, 6);
    assert_int_equal(both->max_handshakes_per_client, 0);
    assert_int_equal(one->nservices, 1);
    assert_int_equal(one->services[0], 1);
    conf_free(c);
}

static void test_every_key_reaches_its_field(void **state) {
    struct conf *c = load_ok(
        "workers = 3\nstate_dir = \"state\"\nengine = \"libcrypto\"\nhandshake = \"auto\"\ntcp_congestion = \"reno\"\n"
        "busy_poll_us = 50\ndrain_timeout = \"1m\"\nwatch_interval = \"none\"\nbuffer_memory = \"64MiB\"\nhandshake_memory = \"32MiB\"\n"
        "[tickets]\nsecret_file = \"t.secret\"\n[log]\ntarget = \"x.log\"\nformat = \"logfmt\"\nlevel = \"debug\"\n"
        "[admin]\nsocket = \"a.sock\"\nsocket_mode = \"660\"\nsocket_owner = \"root\"\nsocket_group = \"root\"\n"
        "listen = \"[::1]:9901\"\n"
        "[service.b]\nlisten = [\"127.0.0.1:0\", \"[::1]:0\", \"127.0.0.1:0\", \"127.0.0.1:9\"]\n"
        "backends = [\"unix:/x\", \"unix:y\", \"unix:@z\", \"tcp:1.2.3.4:80\", \"tcp:[::1]:81\", \"tcp:db-1.lan:82\"]\n"
        "certificates = [{ key = \"k\", passphrase = \"p\", cert = \"/c\" }, \"d/\"]\nalpn = [\"h2\", \"http/1.1\"]\n"
        "min_version = \"1.3\"\ncipher_suites = [\"TLS_CHACHA20_POLY1305_SHA256\"]\ngroups = [\"P-384\", \"X25519\"]\n"
        "strict_sni = true\nstarttls = \"postgresql\"\ncancel = \"pass\"\nbalance = \"client-hash\"\ntruncation = \"reset\"\n"
        "[service.b.proxy_protocol]\nsend = \"v2\"\ntlvs = [\"alpn\", \"crc32c\"]\naccept = \"required\"\n"
        "trust = [\"10.0.0.0/8\", \"::1\"]\n[service.b.client_auth]\nmode = \"optional\"\nca = \"ca\"\ncrl = \"/crl\"\ndepth = 2\n"
        "allow = [\"cn:a\", \"dns:*.b\"]\n"
        "[service.b.timeouts]\nhandshake = \"250ms\"\nconnect = \"2h\"\nidle = \"none\"\nlinger = \"0s\"\n"
        "keepalive = \"30s\"\n"
        "half_closed = \"none\"\npartial_record = \"7s\"\n"
        "[service.b.limits]\nsessions = 1\nsessions_per_client = 2\nhandshakes_per_client_per_second = 3\n"
        "bytes_per_second_per_client = 1024\nsessions_per_name = 4\nhandshakes_per_second = 5\n"
        "handshakes_per_name_per_second = 6\nbytes_per_second = 2048\nbytes_per_second_per_name = 4096\n"
        "[service.a]\nlisten = [\"127.0.0.1:9\"]\nbackends = [\"unix:/x\"]\nmode = \"passthrough\"\nstarttls = \"postgresql\"\n"
        "proxy_protocol = { accept = \"required\", trust = [\"10.0.0.0/8\", \"::1\"] }\n"
        "timeouts = { handshake = \"250ms\", keepalive = \"30s\" }\n");
    assert_top_keys(c);
    assert_service_keys(&c->services[0]);
    conf_free(c);
}

/* The words of the key are the names that the machines have. */
static void test_every_machine_has_its_word(void **state) {
    const struct word *words = key_rows[KEY_STARTTLS].words;
    for (int i = STARTTLS_NONE + 1; i < STARTTLS_KINDS; i++)
        assert_int_equal(value_word(words, prelude_protocol((enum starttls)i)->name), i);
    assert_int_equal(value_word(words, "none"), STARTTLS_NONE);
    size_t n = 0;
    while (words[n].name)
        n++;
    assert_int_equal(n, STARTTLS_KINDS);
}

static void test_unix_paths_fit_a_socket_address(void **state) {
    char toml[512], path[256];
    for (int len = 106; len <= 108; len++) {
        struct diagnostics f;
        diagnostics_init(&f);
        memset(path, 'x', sizeof(path));
        path[0] = '/';
        (void)snprintf(toml, sizeof(toml), HEAD "backends = [\"unix:%.*s\", \"unix:@%.*s\"]\n", len, path, len, path);
        struct conf *c = load_text(toml, strlen(toml), &f);
        assert_int_equal(f.errors, len > 107 ? 2 : 0);
        assert_int_equal(c != NULL, len <= 107);
        conf_free(c);
        diagnostics_fini(&f);
    }
}

static void test_host_names(void **state) {
    static const struct {
        const char *backend;
        bool ok;
    } cases[] = {{"tcp:localhost:1", true},
                 {"tcp:a_b.c-d.e:65535", true},
                 {"tcp:300.1.1.1:80", false},
                 {"tcp:1.2.3:80", false},
                 {"tcp:h:65536", false},
                 {"tcp:h:", false},
                 {"tcp::80", false},
                 {"tcp:::1:80", false},
                 {"tcp:a..b:80", false},
                 {"tcp:-a:80", false},
                 {"tcp:a b:80", false},
                 {"tcp:[::1]:0", false},
                 {"tcp:[2001:db8::1]:80", true},
                 {"tcp:h:+80", false},
                 {"tcp:h: 80", false},
                 {"tcp:x1:80", true},
                 {"TCP:h:80", false},
                 {"tcp:h", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char toml[256];
        struct diagnostics f;
        diagnostics_init(&f);
        (void)snprintf(toml, sizeof(toml), HEAD "backends = [\"%s\"]\n", cases[i].backend);
        struct conf *c = load_text(toml, strlen(toml), &f);
        if ((c != NULL) != cases[i].ok)
            fail_msg("%s: %s", cases[i].backend, f.text);
        conf_free(c);
        diagnostics_fini(&f);
    }
}

/* A list of N items made by FMT from the item's number, in a config around it. */
static char *long_text(const char *head, const char *fmt, size_t n, const char *tail) {
    size_t cap = strlen(head) + n * 80 + strlen(tail) + 1;
    char *p = malloc(cap);
    assert_non_null(p);
    struct text t = text_of(p, cap);
    text_add(&t, head);
    for (size_t i = 0; i < n; i++) {
        char item[80];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(item, sizeof(item), fmt, (int)i);
#pragma GCC diagnostic pop
        text_add(&t, item);
    }
    text_add(&t, tail);
    assert_false(t.cut);
    return p;
}

static void assert_limit(char *toml, bool ok, const char *part) {
    struct diagnostics f;
    diagnostics_init(&f);
    struct conf *c = load_text(toml, strlen(toml), &f);
    assert_int_equal(c != NULL, ok);
    if (!ok && !strstr(f.text, part))
        fail_msg("no \"%s\" in: %s", part, f.text);
    conf_free(c);
    diagnostics_fini(&f);
    free(toml);
}

static void test_limits_of_counts(void **state) {
    const char *services = "[service.s%d]\nlisten = [\"127.0.0.1:1\"]\nbackends = [\"unix:/x\"]\n";
    assert_limit(long_text("", services, SERVICES_MAX, ""), true, "");
    assert_limit(long_text("", services, SERVICES_MAX + 1, ""), false, "service: found 4097 services, expected at most 4096");
    assert_limit(long_text(HEAD "backends = [", "\"unix:/%d\",", 64, "]"), true, "");
    assert_limit(long_text(HEAD "backends = [", "\"unix:/%d\",", 65, "]"), false, "found 65 items, expected at most 64");
    assert_limit(long_text("[service.a]\nbackends = [\"unix:/x\"]\nlisten = [", "\"127.0.0.1:%d\",", 256, "]"), true, "");
    assert_limit(long_text("[service.a]\nbackends = [\"unix:/x\"]\nlisten = [", "\"127.0.0.1:%d\",", 257, "]"), false,
                 "found 257 items, expected at most 256");
    assert_limit(long_text(SERVICE "[service.b]\nbackends = [\"unix:/x\"]\nlisten = [", "\"127.0.0.1:%d\",", 256, "]"), false,
                 "found more than 256 addresses in all");
    assert_limit(long_text(SERVICE "alpn = [", "\"p%d\",", 65, "]"), false, "found 65 items, expected at most 64");
}

static void test_texts_beyond_all_limits(void **state) {
    assert_limit(long_text("", "#%061d\n", TOML_FILE_MAX / 63 + 1, SERVICE), false, "t.toml: larger than 32 MiB");
    assert_limit(long_text("a", ".a%d", 40, "=1"), false, "t.toml:1:120: more than 32 dots in one line");
    assert_limit(long_text("a = '", ".a%d", 40, "'\n" SERVICE), false, "a: found an unknown key");
    assert_limit(long_text(SERVICE "alpn = ", "[ %.0d", 300, ""), false, "t.toml:4:");
    assert_limit(long_text("", "k%d = 1\n", 2000, SERVICE), false, "more lines like these");
    assert_limit(long_text(SERVICE "alpn = [\"", "0123456789%d", 40, "\"]"), false, "...\", expected a protocol name");
}

static void test_a_zero_byte_is_refused(void **state) {
    static const char *const texts[] = {SERVICE "alpn = [\"a\\u0000b\"]\n", "\"wor\\u0000kers\" = 1\n" SERVICE};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_limit(strdup(texts[i]), false, "a zero byte in a ");
}

static void test_passthrough_warns_of_idle_keys(void **state) {
    const char *toml = SERVICE "mode = \"passthrough\"\ncertificates = [\"d/\"]\nmin_version = \"1.3\"\n"
                               "proxy_protocol.trust = [\"1.2.3.4\"]\n";
    struct diagnostics f;
    diagnostics_init(&f);
    struct conf *c = load_text(toml, strlen(toml), &f);
    assert_non_null(c);
    assert_int_equal(c->services[0].ncerts, 0);
    assert_non_null(strstr(f.text, "t.toml:5:16: warning: service.a.certificates: has no effect in passthrough mode\n"));
    assert_non_null(strstr(f.text, "t.toml:6:15: warning: service.a.min_version: has no effect in passthrough mode\n"));
    assert_non_null(
        strstr(f.text, "t.toml:7:24: warning: service.a.proxy_protocol.trust: has no effect while \"accept\" is \"none\"\n"));
    conf_free(c);
    diagnostics_fini(&f);
}

/* A file of the source tree, to be freed. */
static char *source_text(const char *name, size_t *ret_len) {
    char path[512], *text = calloc(1, TOML_FILE_MAX + 1);
    assert_non_null(text);
    (void)snprintf(path, sizeof(path), "%.*s/../../%s", (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__, name);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    *ret_len = fread(text, 1, TOML_FILE_MAX, file);
    (void)fclose(file);
    return text;
}

static void test_the_example_is_accepted(void **state) {
    size_t n;
    struct diagnostics f;
    diagnostics_init(&f);
    char *text = source_text("docs/examples/tls-off.toml", &n);
    struct conf *c = load_text(text, n, &f);
    if (f.errors)
        fail_msg("%s", f.text);
    assert_non_null(c);
    conf_free(c);
    diagnostics_fini(&f);
    free(text);
}

static void test_every_key_is_in_the_manual(void **state) {
    size_t n;
    char *manual = source_text("docs/tls-off.toml.5", &n);
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const char *dot = strrchr(key_rows[k].path, '.'), *name = dot ? dot + 1 : key_rows[k].path;
        char first[64], further[64];
        (void)snprintf(first, sizeof(first), "\n.BR %s ", name);
        (void)snprintf(further, sizeof(further), ", \" %s \"", name);
        if (!strstr(manual, first) && !strstr(manual, further)) {
            (void)snprintf(first, sizeof(first), "\n.BR %s \"", name);
            (void)snprintf(further, sizeof(further), "\" %s \"", name);
            if (!strstr(manual, first) && !strstr(manual, further))
                fail_msg("%s is not in docs/tls-off.toml.5", key_rows[k].path);
        }
    }
    free(manual);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_texts_are_reported_exactly),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_machine_has_its_word),
        cmocka_unit_test(test_client_auth_reaches_its_fields),
        cmocka_unit_test(test_a_listener_has_a_section),
        cmocka_unit_test(test_kinds_of_listeners),
        cmocka_unit_test(test_listeners_know_their_services),
        cmocka_unit_test(test_every_key_reaches_its_field),
        cmocka_unit_test(test_unix_paths_fit_a_socket_address),
        cmocka_unit_test(test_host_names),
        cmocka_unit_test(test_limits_of_counts),
        cmocka_unit_test(test_texts_beyond_all_limits),
        cmocka_unit_test(test_a_zero_byte_is_refused),
        cmocka_unit_test(test_passthrough_warns_of_idle_keys),
        cmocka_unit_test(test_the_example_is_accepted),
        cmocka_unit_test(test_every_key_is_in_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
