/*
 * The configuration as one plain checked struct. Made from TOML by the config role (conf/load.h), passed to the other roles
 * as a sealed snapshot (conf/snapshot.h). Its readers may trust every field: ranges, files and references are checked.
 *
 * All text and arrays belong to the struct's own arena: valid as long as the struct, never freed one by one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/log_level.h"
#include "conf/conf_acme.h"
#include "conf/conf_otlp.h"
#include "conf/conf_store.h"
#include "prelude/prelude.h"
#include "shm/bounds.h"

#define CONF_LISTENERS_MAX    256 /* different addresses, over all services */
#define CONF_BACKENDS_MAX     64  /* a service */
#define CONF_NAME_MAX         255 /* bytes of any text that is no file name */
#define CONF_SERVICE_NAME_MAX 64
#define CONF_NO_SERVICE       UINT16_MAX
#define CONF_NAMES_MAX        1024                /* a service */
#define CONF_HOST_MAX         255                 /* characters of a host name */
#define CONF_PATTERN_MAX      (CONF_HOST_MAX + 3) /* "**." before it */
#define CONF_DEVICE_MAX       15                  /* IFNAMSIZ, its zero not counted */
#define CONF_BACKLOG          4096                /* the kernel cuts it to net.core.somaxconn */
#define CONF_BUSY_POLL_MAX    10000
#define CONF_CLIENT_DEPTH_MAX 16
#define CONF_CLIENT_RULES_MAX 256
#define CONF_JA4_MAX          64   /* patterns a service */
#define CONF_RATE_MIN         1024 /* bytes a second of a client: the smallest limit */
#define CONF_RATE_MAX         (UINT64_C(1) << 50)
#define CONF_SOCKET_PATH_MAX  107        /* sun_path, its zero not counted */
#define CONF_SECRETS_MAX      8          /* ticket secrets at once */
#define CONF_KEYLOG_CLIENTS   64         /* networks of a key log */
#define CONF_NEVER            UINT64_MAX /* a timeout of "none" */

/* Defaults. */
#define CONF_HALF_CLOSED_MS    30000
#define CONF_PARTIAL_RECORD_MS 30000

enum log_target { LOG_TO_STDERR, LOG_TO_STDOUT, LOG_TO_FILE, LOG_TO_SYSLOG, LOG_TO_JOURNAL };
enum log_format { LOG_AS_TEXT, LOG_AS_JSON, LOG_AS_LOGFMT };
enum service_mode { MODE_TERMINATE, MODE_PASSTHROUGH };
enum balance { BALANCE_LEAST_SESSIONS, BALANCE_ROUND_ROBIN, BALANCE_CLIENT_HASH };
enum proxy_send { PROXY_SEND_NONE, PROXY_SEND_V1, PROXY_SEND_V2 };
enum client_auth_mode { CLIENT_AUTH_NONE, CLIENT_AUTH_OPTIONAL, CLIENT_AUTH_REQUIRED };
enum handshake_choice { HANDSHAKE_LIBSSL, HANDSHAKE_AUTO }; /* who makes TLS 1.3: libssl; our own code where it can */
enum unknown_name { UNKNOWN_ALERT, UNKNOWN_RESET };         /* what a client gets whom no service serves */
enum truncation { TRUNCATION_CLOSE, TRUNCATION_RESET };     /* what a backend sees of a TCP end without close_notify */

/* Bits of conf_service.proxy_tlvs. */
enum proxy_tlv {
    TLV_SSL = 1,
    TLV_AUTHORITY = 2,
    TLV_ALPN = 4,
    TLV_UNIQUE_ID = 8,
    TLV_CRC32C = 16,
    TLV_CLIENT_CERT = 32,
    TLV_CLIENT_NAME = 64,
    TLV_ALL = 127,
    TLV_DEFAULT = TLV_ALL & ~TLV_CLIENT_CERT,
};

enum backend_kind { BACKEND_UNIX, BACKEND_UNIX_ABSTRACT, BACKEND_TCP };

struct conf_backend {
    enum backend_kind kind;
    const char *text; /* as written: "unix:/run/app.sock"; what logs call it */
    const char *path; /* Unix path, abstract name without the '@', or host of a TCP backend */
    uint16_t port;    /* TCP */
    bool is_name;     /* TCP host is a name to be resolved; otherwise ADDR is set */
    struct addr addr; /* TCP with a literal address */
};

/* Names of files, absolute. Key is NULL for a directory. */
struct conf_cert {
    const char *cert; /* a file, or a directory when KEY is NULL */
    const char *key;
    const char *passphrase; /* file with the passphrase of the key; NULL = the key is not encrypted */
};

/* Of a socket file that we make. */
struct socket_rights {
    uint32_t mode;
    uint32_t uid, gid; /* UINT32_MAX = as it comes */
};

/*
 * Where clients come in: each address once, with what holds there before their service is known. The first part is configured;
 * the second follows from the services that listen there, of which the check has made sure that they agree.
 */
struct conf_listener {
    const char *name; /* as logs and the status call it: "0.0.0.0:443", "unix:/run/db.sock" */
    const char *path; /* of a Unix socket, absolute; or '@' and its abstract name; NULL = a socket of TCP at ADDR */
    struct addr addr;
    struct socket_rights rights; /* of PATH */
    bool v6only;                 /* of [::]: false takes IPv4, too */
    bool mptcp;
    const char *device; /* NULL = any */
    uint32_t backlog;
    const char *fallback_name; /* of the service that gets what is no TLS, in passthrough mode; NULL = none */
    bool redirect_http;        /* plain HTTP is sent to https */

    uint16_t fallback;  /* that service, or CONF_NO_SERVICE */
    uint16_t *services; /* never empty after the check; clients are refused in the name of the first one */
    size_t nservices;
    bool proxy_accept; /* required, from these networks */
    const struct cidr *proxy_trust;
    size_t nproxy_trust;
    enum starttls starttls;
    uint64_t handshake_ms, keepalive_ms;
    uint64_t max_sessions_per_client, max_handshakes_per_client; /* the widest of its services; 0 = no limit */
    bool fleet_limits;                                           /* of all its services that limit a client */
    bool resets;                                                 /* whom no service serves; otherwise there is an alert */
};

struct conf_service {
    const char *name;
    uint16_t *listeners; /* indices into conf.listeners */
    size_t nlisteners;
    struct conf_backend *backends;
    size_t nbackends;
    struct conf_cert *certs; /* empty in passthrough mode */
    size_t ncerts;
    const char **names; /* patterns as in route/route.h; none = those of the certificates */
    size_t nnames;
    const char **match_alpn; /* protocols of which a client must offer one; none = any client */
    size_t nmatch_alpn;
    enum unknown_name unknown;
    const char **alpn;
    size_t nalpn;
    enum service_mode mode;
    uint16_t min_version; /* TLS_1_2 or TLS_1_3 as on the wire: 0x0303, 0x0304 */
    uint16_t *suites;     /* our order; never empty after the check */
    size_t nsuites;
    uint16_t *groups; /* never empty after the check */
    size_t ngroups;
    bool strict_sni;
    bool fetch_ocsp; /* of certificates that name a responder, by the acme role */
    enum starttls starttls;
    bool cancel_pass; /* a CancelRequest in clear goes to the backend */
    enum balance balance;
    enum truncation truncation;
    enum proxy_send proxy_send;
    unsigned proxy_tlvs;
    enum client_auth_mode client_auth;
    const char *client_ca;     /* file, absolute; NULL only when no client certificates are requested */
    const char *client_crl;    /* file, absolute; NULL = none */
    uint32_t client_depth;     /* certificates between a client's and the CA's */
    const char **client_allow; /* rules as in creds/client_rule.h, checked; none = anyone who has a certificate of the CA */
    size_t nclient_allow;
    const char **access_allow, **access_deny; /* networks, or files of such: absolute names */
    size_t naccess_allow, naccess_deny;
    const char **deny_ja4; /* patterns as in access/ja4_rule.h, checked */
    size_t ndeny_ja4;
    bool proxy_accept; /* required, from these networks */
    struct cidr *proxy_trust;
    size_t nproxy_trust;
    uint64_t handshake_ms, connect_ms, idle_ms, linger_ms, half_closed_ms, partial_record_ms,
        keepalive_ms; /* CONF_NEVER = none */
    /* 0 = no limit; handshakes and bytes a second */
    uint64_t max_sessions, max_sessions_per_client, max_sessions_per_name;
    uint64_t max_handshakes, max_handshakes_per_client, max_handshakes_per_name;
    uint64_t max_bytes, max_bytes_per_client, max_bytes_per_name;
    bool fleet_limits; /* those of a client are of all instances together */
};

/* Where tls-off answers questions and takes commands. */
struct conf_admin {
    const char *socket; /* absolute; NULL = none */
    bool socket_given;  /* by the operator: then it must be to be had */
    struct socket_rights rights;
    struct addr listen; /* AF_UNSPEC = none */
    bool health_only;   /* LISTEN answers for health and metrics alone */
};

/* Secrets of the TLS connections of some clients, to a file: see conf/keylog.h. */
struct conf_keylog {
    const char *file; /* absolute, in the state directory; NULL = none */
    struct cidr *clients;
    size_t nclients;
    uint64_t until_s; /* since 1970 */
};

struct conf {
    uint32_t workers; /* never 0 after the check */
    const char *user; /* NULL = stay who we are */
    const char *state_dir;
    const char *engine; /* "auto", "libcrypto" */
    enum handshake_choice handshake;
    const char *tcp_congestion; /* "" = the host's */
    uint32_t busy_poll_us;      /* relays look for events so long before they sleep; 0 = never */
    uint64_t drain_ms;          /* how long TERM lets sessions finish */
    uint64_t watch_ms;          /* between looks at the files of certificates; CONF_NEVER = events only */
    uint64_t buffer_memory;     /* bytes a relay may hold for bytes that wait */
    uint64_t
        handshake_memory; /* bytes a handshaker may hold for connections that are no session yet; never 0 after the check */
    const char **ticket_secrets; /* files, absolute: the first one seals, all open; none = random for this start */
    size_t nticket_secrets;
    bool ticket_with_finished; /* in our own handshake: not after the client's */
    enum log_target log_target;
    const char *log_file; /* absolute, for LOG_TO_FILE */
    enum log_format log_format;
    enum log_level log_level;
    struct conf_keylog keylog;
    struct conf_admin admin;
    struct conf_listener *listeners;
    size_t nlisteners;
    struct conf_service *services;
    size_t nservices;
    struct conf_acme acme;
    struct conf_store store;
    struct conf_otlp otlp;

    struct conf_arena *arena;
};

/* Memory for N zeroed bytes, or a copy of S, living as long as C; aborts when out of memory (start of a process). */
void *conf_alloc(struct conf *c, size_t n);
/* The same, but NULL when out of memory: a process that serves refuses what it reads. */
void *conf_try_alloc(struct conf *c, size_t n);
const char *conf_strdup(struct conf *c, const char *s);

/* Fills in what listeners have from their services. ERR_NOMEM. */
MUST_CHECK int conf_link_listeners(struct conf *c);

/* Whether some limit counts what clients have at other instances. */
bool conf_has_fleet_limits(const struct conf *c);

struct conf *conf_new(void);     /* aborts when out of memory (start of a process) */
struct conf *conf_try_new(void); /* or NULL */
void conf_free(struct conf *c);
