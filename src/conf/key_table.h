/*
 * The table of all keys of the file: one row a key, and all that is said of it. From it come enum conf_key, the reading of the
 * file, defaults, what is suggested for unknown keys, and how the values go through the snapshot.
 *
 *   K(number, path, type, ...)
 *
 * Path: '*' is a service's name or a listener's address. Type: of scalars.h, or OWN() for a key with a reader of its own. Then,
 * as they apply: TOP(), SERVICE(), LISTENER() where the value is stored; a list has no such place and is in snapshot.c by hand
 *   .number, .text               the default; without one 0 or NULL. A text with a default is never NULL
 *   .min, .max                   bounds of a number; most bytes of a text
 *   .words                       what may be said
 *   .must_understand             the supervisor acts on it, who may be of an older build than the one that has read the file:
 * when that does not know the key, it refuses a configuration in which this is not at its default
 *
 * Expanded in schema.c, whose includes it takes.
 */
#pragma once

#define KEY_MINUTES(n) (UINT64_C(60000) * (n))
#define KEY_MIB(n)     (UINT64_C(1048576) * (n))

/* clang-format off */
#define KEY_TABLE(K)                                                                                                           \
    K(KEY_WORKERS,          "workers",          &scalar_integer,  TOP(workers), .max = WORKERS_MAX, .must_understand = true)   \
    K(KEY_USER,             "user",             &scalar_text,     TOP(user), .max = CONF_NAME_MAX)                             \
    K(KEY_STATE_DIR,        "state_dir",        &scalar_path,     TOP(state_dir))                                              \
    K(KEY_ENGINE,           "engine",           &scalar_text,     TOP(engine), .text = "auto",                                 \
      .words = WORDS({"auto", 0}, {"libcrypto", 1}, {"mb", 2}))                                                                \
    K(KEY_HANDSHAKE,        "handshake",        &scalar_word,     TOP(handshake), .number = HANDSHAKE_AUTO,                    \
      .words = WORDS({"auto", HANDSHAKE_AUTO}, {"libssl", HANDSHAKE_LIBSSL}))                                                  \
    K(KEY_TCP_CONGESTION,   "tcp_congestion",   &scalar_text,     TOP(tcp_congestion), .text = "", .max = 15 /* TCP_CA_NAME_MAX */, .must_understand = true) \
    K(KEY_BUSY_POLL,        "busy_poll_us",     &scalar_integer,  TOP(busy_poll_us), .max = CONF_BUSY_POLL_MAX)                \
    K(KEY_DRAIN_TIMEOUT,    "drain_timeout",    &scalar_duration, TOP(drain_ms), .number = 10000, .must_understand = true)     \
    K(KEY_WATCH_INTERVAL,   "watch_interval",   &scalar_duration, TOP(watch_ms), .number = 30000, .min = 1000, .must_understand = true) \
    K(KEY_BUFFER_MEMORY,    "buffer_memory",    &scalar_size,     TOP(buffer_memory), .min = KEY_MIB(1), .max = KEY_MIB(1048576)) \
    K(KEY_HANDSHAKE_MEMORY, "handshake_memory", &scalar_size,     TOP(handshake_memory), .min = KEY_MIB(1), .max = KEY_MIB(1048576)) \
                                                                                                                               \
    K(KEY_LOG_TARGET, "log.target", OWN(TOML_STRING, read_log_target), TOP(log_target), .number = LOG_TO_STDERR, .max = LOG_TO_JOURNAL, .must_understand = true) \
    K(KEY_LOG_FORMAT, "log.format", &scalar_word, TOP(log_format), .number = LOG_AS_TEXT,                                      \
      .words = WORDS({"text", LOG_AS_TEXT}, {"json", LOG_AS_JSON}, {"logfmt", LOG_AS_LOGFMT}))                                 \
    K(KEY_LOG_LEVEL,  "log.level",  &scalar_word, TOP(log_level), .number = LOG_LEVEL_INFO,                                    \
      .words = WORDS({"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARNING}, {"info", LOG_LEVEL_INFO}, {"debug", LOG_LEVEL_DEBUG})) \
                                                                                                                               \
    K(KEY_KEYLOG, "debug.keylog", OWN(TOML_TABLE, read_keylog))                                                                \
                                                                                                                               \
    K(KEY_OTLP_ENDPOINT,     "otlp.endpoint",     &scalar_text,     TOP(otlp.endpoint), .max = CONF_OTLP_URL_MAX, .must_understand = true) \
    K(KEY_OTLP_CA_FILE,      "otlp.ca_file",      &scalar_path,     TOP(otlp.ca_file))                                          \
    K(KEY_OTLP_HEADERS_FILE, "otlp.headers_file", &scalar_path,     TOP(otlp.headers_file))                                     \
    K(KEY_OTLP_TIMEOUT,      "otlp.timeout",      &scalar_finite_duration, TOP(otlp.timeout_ms), .number = 10000, .min = 100, .max = CONF_OTLP_TIMEOUT_MAX) \
    K(KEY_OTLP_SERVICE_NAME, "otlp.service_name", &scalar_text,     TOP(otlp.service_name), .text = "tls-off", .max = CONF_OTLP_SERVICE_MAX) \
    K(KEY_OTLP_SAMPLE,       "otlp.sample",       &scalar_ratio,    TOP(otlp.sample_ppm), .number = CONF_OTLP_SAMPLE_ALL, .max = CONF_OTLP_SAMPLE_ALL) \
                                                                                                                               \
    K(KEY_ADMIN_SOCKET,       "admin.socket",       OWN(TOML_STRING, read_admin_socket))                                       \
    K(KEY_ADMIN_SOCKET_MODE,  "admin.socket_mode",  OWN(TOML_STRING, read_socket_mode),  TOP(admin.rights.mode), .number = 0600, .min = 0600, .max = 0666, .must_understand = true) \
    K(KEY_ADMIN_SOCKET_OWNER, "admin.socket_owner", OWN(TOML_STRING, read_socket_owner), TOP(admin.rights.uid), .number = UINT32_MAX, .max = UINT32_MAX, .must_understand = true) \
    K(KEY_ADMIN_SOCKET_GROUP, "admin.socket_group", OWN(TOML_STRING, read_socket_group), TOP(admin.rights.gid), .number = UINT32_MAX, .max = UINT32_MAX, .must_understand = true) \
    K(KEY_ADMIN_LISTEN,       "admin.listen",       OWN(TOML_STRING, read_admin_listen))                                       \
    K(KEY_ADMIN_SCOPE,        "admin.scope",        &scalar_word, TOP(admin.health_only),                                      \
      .words = WORDS({"all", false}, {"health", true}))                                                                        \
                                                                                                                               \
    K(KEY_TICKETS_SECRET_FILE,  "tickets.secret_file",  OWN(TOML_STRING, read_secret_file))                                    \
    K(KEY_TICKETS_SECRET_FILES, "tickets.secret_files", OWN(TOML_ARRAY, read_secret_files))                                    \
    K(KEY_TICKETS_WITH_FINISHED, "tickets.with_finished", &scalar_boolean, TOP(ticket_with_finished))                          \
                                                                                                                               \
    K(KEY_LISTENER_BACKLOG, "listener.*.backlog", &scalar_integer, LISTENER(backlog), .number = CONF_BACKLOG, .min = 1, .max = INT32_MAX, .must_understand = true) \
    K(KEY_LISTENER_V6ONLY,  "listener.*.v6only",  &scalar_boolean, LISTENER(v6only), .number = true, .must_understand = true)  \
    K(KEY_LISTENER_MPTCP,   "listener.*.mptcp",   &scalar_boolean, LISTENER(mptcp), .must_understand = true)                   \
    K(KEY_LISTENER_DEVICE,  "listener.*.device",  &scalar_text,    LISTENER(device), .max = CONF_DEVICE_MAX, .must_understand = true) \
    K(KEY_LISTENER_MODE,    "listener.*.mode",    OWN(TOML_STRING, read_socket_mode),  LISTENER(rights.mode), .number = 0600, .min = 0600, .max = 0666, .must_understand = true) \
    K(KEY_LISTENER_OWNER,   "listener.*.owner",   OWN(TOML_STRING, read_socket_owner), LISTENER(rights.uid), .number = UINT32_MAX, .max = UINT32_MAX, .must_understand = true) \
    K(KEY_LISTENER_GROUP,   "listener.*.group",   OWN(TOML_STRING, read_socket_group), LISTENER(rights.gid), .number = UINT32_MAX, .max = UINT32_MAX, .must_understand = true) \
                                                                                                                               \
    K(KEY_LISTENER_FALLBACK,      "listener.*.fallback",      &scalar_text, LISTENER(fallback_name), .max = CONF_SERVICE_NAME_MAX)  \
    K(KEY_LISTENER_REDIRECT_HTTP, "listener.*.redirect_http", &scalar_boolean, LISTENER(redirect_http))                        \
                                                                                                                               \
    K(KEY_ACME_STATE,  "acme.state",  OWN(TOML_STRING, read_acme_state))                                                       \
    K(KEY_ACME_CLUSTER, "acme.cluster", &scalar_text, TOP(store.cluster), .text = "tls-off", .max = CONF_CLUSTER_MAX) \
    K(KEY_ACME_STORAGE_KEY, "acme.storage_key_file", &scalar_path, TOP(store.key_file))                                        \
    K(KEY_ACME_HTTP,   "acme.http",   OWN(TOML_ARRAY, read_acme_http))                                                         \
    K(KEY_ACME_REDIRECT, "acme.redirect_http", &scalar_boolean, TOP(acme.http_redirects))                                      \
    K(KEY_ACME_WEBROOT, "acme.webroot", &scalar_path, TOP(acme.webroot))                                                       \
    K(KEY_ACME_ISSUER, "acme.issuer", OWN(TOML_TABLE, read_issuers))                                                           \
    K(KEY_ACME_TLS,    "acme_tls",    OWN(TOML_STRING, read_acme_tls))                                                         \
                                                                                                                               \
    K(KEY_LISTEN,        "service.*.listen",        OWN(TOML_ARRAY, read_listen))                                              \
    K(KEY_BACKENDS,      "service.*.backends",      OWN(TOML_ARRAY, read_backends))                                            \
    K(KEY_CERTIFICATES,  "service.*.certificates",  OWN(TOML_ARRAY, read_certificates))                                        \
    K(KEY_NAMES,         "service.*.names",         OWN(TOML_ARRAY, read_names))                                               \
    K(KEY_MATCH_ALPN,    "service.*.match_alpn",    OWN(TOML_ARRAY, read_match_alpn))                                          \
    K(KEY_UNKNOWN,       "service.*.unknown",       &scalar_word, SERVICE(unknown), .number = UNKNOWN_ALERT,                   \
      .words = WORDS({"alert", UNKNOWN_ALERT}, {"reset", UNKNOWN_RESET}))                                                      \
    K(KEY_ALPN,          "service.*.alpn",          OWN(TOML_ARRAY, read_alpn))                                                \
    K(KEY_MODE,          "service.*.mode",          &scalar_word, SERVICE(mode), .number = MODE_TERMINATE,                     \
      .words = WORDS({"terminate", MODE_TERMINATE}, {"passthrough", MODE_PASSTHROUGH}))                                        \
    K(KEY_MIN_VERSION,   "service.*.min_version",   &scalar_word, SERVICE(min_version), .number = 0x0303,                      \
      .words = WORDS({"1.2", 0x0303}, {"1.3", 0x0304}))                                                                        \
    K(KEY_CIPHER_SUITES, "service.*.cipher_suites", OWN(TOML_ARRAY, read_suites))                                              \
    K(KEY_GROUPS,        "service.*.groups",        OWN(TOML_ARRAY, read_groups))                                              \
    K(KEY_STRICT_SNI,    "service.*.strict_sni",    &scalar_boolean, SERVICE(strict_sni))                                      \
    K(KEY_FETCH_OCSP,    "service.*.fetch_ocsp",    &scalar_boolean, SERVICE(fetch_ocsp), .must_understand = true)             \
    K(KEY_STARTTLS,      "service.*.starttls",      &scalar_word, SERVICE(starttls),                                           \
      .words = WORDS({"none", STARTTLS_NONE}, {"postgresql", STARTTLS_POSTGRESQL}, {"ldap", STARTTLS_LDAP}, {"smtp", STARTTLS_SMTP}, \
                     {"lmtp", STARTTLS_LMTP}, {"imap", STARTTLS_IMAP}, {"pop3", STARTTLS_POP3}, {"sieve", STARTTLS_SIEVE}, \
                     {"nntp", STARTTLS_NNTP}, {"amqp", STARTTLS_AMQP}, {"xmpp-client", STARTTLS_XMPP_CLIENT}))             \
    K(KEY_CANCEL,        "service.*.cancel",        &scalar_word, SERVICE(cancel_pass),                                        \
      .words = WORDS({"refuse", false}, {"pass", true}))                                                                       \
    K(KEY_BALANCE,       "service.*.balance",       &scalar_word, SERVICE(balance), .number = BALANCE_LEAST_SESSIONS,          \
      .words = WORDS({"least-sessions", BALANCE_LEAST_SESSIONS}, {"round-robin", BALANCE_ROUND_ROBIN}, {"client-hash", BALANCE_CLIENT_HASH})) \
    K(KEY_TRUNCATION,    "service.*.truncation",    &scalar_word, SERVICE(truncation), .number = TRUNCATION_CLOSE,             \
      .words = WORDS({"close", TRUNCATION_CLOSE}, {"reset", TRUNCATION_RESET}))                                                \
                                                                                                                               \
    K(KEY_PROXY_SEND,   "service.*.proxy_protocol.send",   &scalar_word, SERVICE(proxy_send), .number = PROXY_SEND_NONE,       \
      .words = WORDS({"none", PROXY_SEND_NONE}, {"v1", PROXY_SEND_V1}, {"v2", PROXY_SEND_V2}))                                 \
    K(KEY_PROXY_TLVS,   "service.*.proxy_protocol.tlvs",   OWN(TOML_ARRAY, read_tlvs), SERVICE(proxy_tlvs), .number = TLV_DEFAULT, .max = TLV_ALL) \
    K(KEY_PROXY_ACCEPT, "service.*.proxy_protocol.accept", &scalar_word, SERVICE(proxy_accept),                                \
      .words = WORDS({"none", false}, {"required", true}))                                                                     \
    K(KEY_PROXY_TRUST,  "service.*.proxy_protocol.trust",  OWN(TOML_ARRAY, read_trust))                                        \
                                                                                                                               \
    K(KEY_ACCESS_ALLOW, "service.*.access.allow", OWN(TOML_ARRAY, read_access_allow))                                          \
    K(KEY_ACCESS_DENY,  "service.*.access.deny",  OWN(TOML_ARRAY, read_access_deny))                                           \
    K(KEY_DENY_JA4,     "service.*.access.deny_ja4", OWN(TOML_ARRAY, read_deny_ja4))                                       \
                                                                                                                               \
    K(KEY_CLIENT_AUTH_MODE,  "service.*.client_auth.mode",  &scalar_word, SERVICE(client_auth), .number = CLIENT_AUTH_NONE,    \
      .words = WORDS({"none", CLIENT_AUTH_NONE}, {"optional", CLIENT_AUTH_OPTIONAL}, {"required", CLIENT_AUTH_REQUIRED}))      \
    K(KEY_CLIENT_AUTH_CA,    "service.*.client_auth.ca",    &scalar_path, SERVICE(client_ca))                                  \
    K(KEY_CLIENT_AUTH_CRL,   "service.*.client_auth.crl",   &scalar_path, SERVICE(client_crl))                                 \
    K(KEY_CLIENT_AUTH_DEPTH, "service.*.client_auth.depth", &scalar_integer, SERVICE(client_depth), .number = 4, .max = CONF_CLIENT_DEPTH_MAX) \
    K(KEY_CLIENT_AUTH_ALLOW, "service.*.client_auth.allow", OWN(TOML_ARRAY, read_client_allow))                                \
                                                                                                                               \
    K(KEY_TIMEOUT_HANDSHAKE,   "service.*.timeouts.handshake",   &scalar_duration, SERVICE(handshake_ms), .number = 10000, .min = 1) \
    K(KEY_TIMEOUT_CONNECT,     "service.*.timeouts.connect",     &scalar_duration, SERVICE(connect_ms), .number = 3000, .min = 1) \
    K(KEY_TIMEOUT_IDLE,        "service.*.timeouts.idle",        &scalar_duration, SERVICE(idle_ms), .number = KEY_MINUTES(10), .min = 1) \
    K(KEY_TIMEOUT_LINGER,      "service.*.timeouts.linger",      &scalar_duration, SERVICE(linger_ms), .number = 5000)         \
    K(KEY_TIMEOUT_KEEPALIVE,   "service.*.timeouts.keepalive",   &scalar_duration, SERVICE(keepalive_ms), .number = KEY_MINUTES(2), .min = 1000, .max = TCP_KEEPALIVE_MAX_S * UINT64_C(1000), .must_understand = true) \
    K(KEY_TIMEOUT_HALF_CLOSED, "service.*.timeouts.half_closed", &scalar_duration, SERVICE(half_closed_ms), .number = CONF_HALF_CLOSED_MS, .min = 1) \
    K(KEY_TIMEOUT_PARTIAL_RECORD, "service.*.timeouts.partial_record", &scalar_duration, SERVICE(partial_record_ms), .number = CONF_PARTIAL_RECORD_MS, .min = 1) \
                                                                                                                               \
    K(KEY_LIMIT_SESSIONS,              "service.*.limits.sessions",                          &scalar_integer, SERVICE(max_sessions), .max = INT64_MAX) \
    K(KEY_LIMIT_SESSIONS_PER_CLIENT,   "service.*.limits.sessions_per_client",               &scalar_integer, SERVICE(max_sessions_per_client), .number = 1024, .max = INT64_MAX) \
    K(KEY_LIMIT_SESSIONS_PER_NAME,     "service.*.limits.sessions_per_name",                 &scalar_integer, SERVICE(max_sessions_per_name), .max = INT64_MAX) \
    K(KEY_LIMIT_HANDSHAKES,            "service.*.limits.handshakes_per_second",             &scalar_integer, SERVICE(max_handshakes), .max = INT64_MAX) \
    K(KEY_LIMIT_HANDSHAKES_PER_CLIENT, "service.*.limits.handshakes_per_client_per_second",  &scalar_integer, SERVICE(max_handshakes_per_client), .max = INT64_MAX) \
    K(KEY_LIMIT_HANDSHAKES_PER_NAME,   "service.*.limits.handshakes_per_name_per_second",    &scalar_integer, SERVICE(max_handshakes_per_name), .max = INT64_MAX) \
    K(KEY_LIMIT_BYTES,                 "service.*.limits.bytes_per_second",                  &scalar_rate, SERVICE(max_bytes), .min = CONF_RATE_MIN, .max = CONF_RATE_MAX) \
    K(KEY_LIMIT_BYTES_PER_CLIENT,      "service.*.limits.bytes_per_second_per_client",       &scalar_rate, SERVICE(max_bytes_per_client), .min = CONF_RATE_MIN, .max = CONF_RATE_MAX) \
    K(KEY_LIMIT_BYTES_PER_NAME,        "service.*.limits.bytes_per_second_per_name",         &scalar_rate, SERVICE(max_bytes_per_name), .min = CONF_RATE_MIN, .max = CONF_RATE_MAX) \
    K(KEY_LIMIT_SCOPE,                 "service.*.limits.scope",                             &scalar_word, SERVICE(fleet_limits),        \
      .words = WORDS({"local", false}, {"fleet", true}))                                                                       \
                                                                                                                               \
    K(KEY_SERVICE_ACME, "service.*.acme", OWN(TOML_TABLE, read_service_acme))
/* clang-format on */
