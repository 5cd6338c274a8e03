/*
 * Every error and every reason for which a session ends, in one table: name, text, TLS alert to send.
 *
 * A fallible function returns 0 or one of these (all negative). The short name (without ERR_, lower case) is what logs and
 * metrics call the reason, so names are part of the interface: never reuse one for another meaning. New ones go at the end
 * of their group; numbers are not stable and never leave one generation of processes.
 */
#pragma once

#include <stdbool.h>

#include "base/span.h"

/* TLS alert descriptions (RFC 8446 6, RFC 5246 7.2). */
enum alert {
    ALERT_NONE = -1,
    ALERT_CLOSE_NOTIFY = 0,
    ALERT_UNEXPECTED_MESSAGE = 10,
    ALERT_BAD_RECORD_MAC = 20,
    ALERT_RECORD_OVERFLOW = 22,
    ALERT_HANDSHAKE_FAILURE = 40,
    ALERT_BAD_CERTIFICATE = 42,
    ALERT_UNSUPPORTED_CERTIFICATE = 43,
    ALERT_CERTIFICATE_REVOKED = 44,
    ALERT_CERTIFICATE_EXPIRED = 45,
    ALERT_CERTIFICATE_UNKNOWN = 46,
    ALERT_ILLEGAL_PARAMETER = 47,
    ALERT_UNKNOWN_CA = 48,
    ALERT_ACCESS_DENIED = 49,
    ALERT_DECODE_ERROR = 50,
    ALERT_DECRYPT_ERROR = 51,
    ALERT_PROTOCOL_VERSION = 70,
    ALERT_INTERNAL_ERROR = 80,
    ALERT_USER_CANCELED = 90,
    ALERT_NO_RENEGOTIATION = 100,
    ALERT_MISSING_EXTENSION = 109,
    ALERT_UNSUPPORTED_EXTENSION = 110,
    ALERT_UNRECOGNIZED_NAME = 112,
    ALERT_CERTIFICATE_REQUIRED = 116,
    ALERT_NO_APPLICATION_PROTOCOL = 120,
};

/* X(symbol, short name, text, alert) */
#define ERR_TABLE(X)                                                                                                           \
    /* general */                                                                                                              \
    X(ERR_NOMEM, "out_of_memory", "out of memory", ALERT_INTERNAL_ERROR)                                                       \
    X(ERR_SYSTEM, "system", "a system call failed", ALERT_INTERNAL_ERROR)                                                      \
    X(ERR_AGAIN, "again", "not possible at this moment", ALERT_NONE)                                                           \
    X(ERR_CLOSED, "closed", "the peer is gone", ALERT_NONE)                                                                    \
    X(ERR_LIMIT, "limit", "a limit is reached", ALERT_INTERNAL_ERROR)                                                          \
    X(ERR_FORMAT, "format", "malformed data", ALERT_DECODE_ERROR)                                                              \
    X(ERR_UNSUPPORTED, "unsupported", "not supported", ALERT_INTERNAL_ERROR)                                                   \
    X(ERR_NOT_FOUND, "not_found", "not found", ALERT_INTERNAL_ERROR)                                                           \
    X(ERR_CRYPTO, "crypto", "the crypto library failed", ALERT_INTERNAL_ERROR)                                                 \
    /* before the handshake */                                                                                                 \
    X(ERR_PLAIN_HTTP, "plain_http", "plain HTTP sent to a TLS port", ALERT_NONE)                                               \
    X(ERR_PLAIN_SSH, "plain_ssh", "SSH sent to a TLS port", ALERT_NONE)                                                        \
    X(ERR_PROXY_UNEXPECTED, "proxy_unexpected", "PROXY header where none is expected", ALERT_NONE)                             \
    X(ERR_SSLV2, "sslv2", "SSL 2.0 hello", ALERT_PROTOCOL_VERSION)                                                             \
    X(ERR_NOT_TLS, "not_tls", "the first bytes are not TLS", ALERT_NONE)                                                       \
    X(ERR_PROXY_MISSING, "proxy_missing", "no PROXY header where one is required", ALERT_NONE)                                 \
    X(ERR_PROXY_MALFORMED, "proxy_malformed", "malformed PROXY header", ALERT_NONE)                                            \
    X(ERR_PROXY_UNTRUSTED, "proxy_untrusted", "PROXY header required, but its sender is not trusted", ALERT_NONE)              \
    X(ERR_ACCESS_DENIED, "access_denied", "the access lists do not admit this client", ALERT_NONE)                             \
    X(ERR_JA4_DENIED, "ja4_denied", "the fingerprint of the ClientHello is one that the service denies", ALERT_NONE)           \
    X(ERR_CLIENT_RATE, "client_rate", "too many handshakes per second from this client", ALERT_NONE)                           \
    X(ERR_CLIENT_SESSIONS, "client_sessions", "too many sessions from this client", ALERT_NONE)                                \
    X(ERR_SERVICE_SESSIONS, "service_sessions", "too many sessions in this service", ALERT_NONE)                               \
    X(ERR_SERVICE_RATE, "service_rate", "too many handshakes per second in this service", ALERT_NONE)                          \
    X(ERR_NAME_SESSIONS, "name_sessions", "too many sessions for this server name", ALERT_NONE)                                \
    X(ERR_NAME_RATE, "name_rate", "too many handshakes per second for this server name", ALERT_NONE)                           \
    X(ERR_OUT_OF_FDS, "out_of_descriptors", "out of file descriptors", ALERT_INTERNAL_ERROR)                                   \
    X(ERR_GAVE_WAY, "gave_way", "memory or descriptors for handshakes were used up, and this client held most of them",        \
      ALERT_NONE)                                                                                                              \
    X(ERR_STARTTLS_QUIT, "starttls_quit", "the client took its leave before TLS", ALERT_NONE)                                  \
    X(ERR_STARTTLS_CLEAR, "starttls_clear", "the client went on without TLS, which is required", ALERT_NONE)                   \
    X(ERR_STARTTLS_CANCEL, "starttls_cancel", "a CancelRequest in clear", ALERT_NONE)                                          \
    X(ERR_STARTTLS_MALFORMED, "starttls_malformed", "what came before TLS is not the address's protocol", ALERT_NONE)          \
    X(ERR_STARTTLS_LIMIT, "starttls_limit", "more than 4 KiB or 16 lines before TLS", ALERT_NONE)                              \
    X(ERR_STARTTLS_INJECTION, "starttls_injection", "clear bytes behind the request for TLS", ALERT_NONE)                      \
    /* ClientHello */                                                                                                          \
    X(ERR_HELLO_MALFORMED, "hello_malformed", "malformed ClientHello", ALERT_DECODE_ERROR)                                     \
    X(ERR_HELLO_TOO_LONG, "hello_too_long", "ClientHello longer than 131,396 bytes", ALERT_DECODE_ERROR)                       \
    X(ERR_HELLO_UNEXPECTED, "hello_unexpected", "first message is no ClientHello", ALERT_UNEXPECTED_MESSAGE)                   \
    X(ERR_NO_VERSION, "no_shared_version", "no shared TLS version", ALERT_PROTOCOL_VERSION)                                    \
    X(ERR_NO_SUITE, "no_shared_suite", "no shared cipher suite", ALERT_HANDSHAKE_FAILURE)                                      \
    X(ERR_NO_GROUP, "no_shared_group", "no shared key exchange group", ALERT_HANDSHAKE_FAILURE)                                \
    X(ERR_NO_SIGALG, "no_shared_sigalg", "no signature algorithm that our certificates serve", ALERT_HANDSHAKE_FAILURE)        \
    X(ERR_UNKNOWN_NAME, "unknown_name", "no certificate for the requested server name", ALERT_UNRECOGNIZED_NAME)               \
    X(ERR_NO_ALPN, "no_shared_alpn", "no shared application protocol", ALERT_NO_APPLICATION_PROTOCOL)                          \
    X(ERR_HELLO_LACKS, "missing_extension", "an extension is missing that a TLS 1.3 ClientHello must have",                    \
      ALERT_MISSING_EXTENSION)                                                                                                 \
    X(ERR_KEY_SHARE, "bad_key_share", "a key share that is none of its group", ALERT_ILLEGAL_PARAMETER)                        \
    X(ERR_HELLO_CHANGED, "hello_changed", "second ClientHello that does not fit the first", ALERT_ILLEGAL_PARAMETER)           \
    X(ERR_BINDER, "bad_binder", "the ticket's binder is wrong", ALERT_DECRYPT_ERROR)                                           \
    /* handshake */                                                                                                            \
    X(ERR_HANDSHAKE, "handshake_failed", "handshake failed", ALERT_HANDSHAKE_FAILURE)                                          \
    X(ERR_HANDSHAKE_TIMEOUT, "handshake_timeout", "handshake not done in time", ALERT_NONE)                                    \
    X(ERR_HANDSHAKE_CLOSED, "handshake_closed", "the client closed the connection during the handshake", ALERT_NONE)           \
    X(ERR_HANDSHAKE_RESET, "handshake_reset", "the client reset the connection during the handshake", ALERT_NONE)              \
    X(ERR_PEER_ALERT, "peer_alert", "fatal alert from the client", ALERT_NONE)                                                 \
    X(ERR_FINISHED, "bad_finished", "the client's Finished is wrong", ALERT_DECRYPT_ERROR)                                     \
    X(ERR_LEAVE, "cannot_leave_libssl", "libssl's state could not be taken over", ALERT_INTERNAL_ERROR)                        \
    X(ERR_SIGNER_TIMEOUT, "signer_timeout", "the signer did not answer in time", ALERT_INTERNAL_ERROR)                         \
    X(ERR_SIGNER_REFUSED, "signer_refused", "the signer refused to sign", ALERT_INTERNAL_ERROR)                                \
    X(ERR_NO_RELAY, "no_relay", "no relay took the session", ALERT_INTERNAL_ERROR)                                             \
    /* client certificates */                                                                                                  \
    X(ERR_CLIENT_CERT_MISSING, "client_cert_missing", "the client sent no certificate", ALERT_CERTIFICATE_REQUIRED)            \
    X(ERR_CLIENT_CERT_UNKNOWN_CA, "client_cert_unknown_ca", "the client's certificate comes from no CA that is trusted here",  \
      ALERT_UNKNOWN_CA)                                                                                                        \
    X(ERR_CLIENT_CERT_EXPIRED, "client_cert_expired", "the client's certificate has expired", ALERT_CERTIFICATE_EXPIRED)       \
    X(ERR_CLIENT_CERT_EARLY, "client_cert_not_yet_valid", "the client's certificate is not valid yet",                         \
      ALERT_CERTIFICATE_EXPIRED)                                                                                               \
    X(ERR_CLIENT_CERT_REVOKED, "client_cert_revoked", "the client's certificate is revoked", ALERT_CERTIFICATE_REVOKED)        \
    X(ERR_CLIENT_CRL_STALE, "client_crl_out_of_date", "the CRL is out of date", ALERT_CERTIFICATE_UNKNOWN)                     \
    X(ERR_CLIENT_CRL_MISSING, "client_crl_missing", "there is no CRL of the CA of the client's certificate",                   \
      ALERT_CERTIFICATE_UNKNOWN)                                                                                               \
    X(ERR_CLIENT_CERT_USAGE, "client_cert_usage", "the client's certificate is not meant for TLS clients",                     \
      ALERT_UNSUPPORTED_CERTIFICATE)                                                                                           \
    X(ERR_CLIENT_CERT_DEPTH, "client_cert_depth", "too many certificates between the client's and the CA's",                   \
      ALERT_BAD_CERTIFICATE)                                                                                                   \
    X(ERR_CLIENT_CERT_LARGE, "client_cert_too_large",                                                                          \
      "the client's certificates are larger, or have more names, than is taken", ALERT_BAD_CERTIFICATE)                        \
    X(ERR_CLIENT_CERT_WEAK, "client_cert_weak", "a key or hash in the client's certificates is too weak",                      \
      ALERT_BAD_CERTIFICATE)                                                                                                   \
    X(ERR_CLIENT_CERT_BAD, "client_cert_bad", "the client's certificates cannot be used", ALERT_BAD_CERTIFICATE)               \
    X(ERR_CLIENT_CERT_PROOF, "client_cert_proof", "the client does not hold the key of its certificate", ALERT_DECRYPT_ERROR)  \
    X(ERR_CLIENT_CERT_EXTENSION, "client_cert_extension",                                                                      \
      "an extension beside the client's certificate that was not asked for", ALERT_UNSUPPORTED_EXTENSION)                      \
    X(ERR_CLIENT_NOT_ALLOWED, "client_not_allowed", "no rule lets this client in", ALERT_ACCESS_DENIED)                        \
    /* records */                                                                                                              \
    X(ERR_BAD_MAC, "bad_record_mac", "record failed authentication", ALERT_BAD_RECORD_MAC)                                     \
    X(ERR_RECORD_OVERFLOW, "record_overflow", "record too long", ALERT_RECORD_OVERFLOW)                                        \
    X(ERR_RECORD_TYPE, "unexpected_message", "record or message not allowed here", ALERT_UNEXPECTED_MESSAGE)                   \
    X(ERR_RECORD_DECODE, "record_decode", "malformed record or message", ALERT_DECODE_ERROR)                                   \
    X(ERR_RECORD_VERSION, "record_version", "wrong record version", ALERT_PROTOCOL_VERSION)                                    \
    X(ERR_RECORD_FLOOD, "record_flood", "too many records that carry no data", ALERT_UNEXPECTED_MESSAGE)                       \
    X(ERR_RECORD_ILLEGAL, "illegal_parameter", "illegal value in a message", ALERT_ILLEGAL_PARAMETER)                          \
    X(ERR_KEY_LIMIT, "key_limit", "the key's usage limit is reached", ALERT_INTERNAL_ERROR)                                    \
    /* backend */                                                                                                              \
    X(ERR_BACKEND_REFUSED, "backend_refused", "no backend took the connection", ALERT_INTERNAL_ERROR)                          \
    X(ERR_BACKEND_TIMEOUT, "backend_timeout", "no backend took the connection in time", ALERT_INTERNAL_ERROR)                  \
    X(ERR_BACKEND_BACKLOG, "backend_backlog", "the backend's queue of connections stayed full", ALERT_INTERNAL_ERROR)          \
    X(ERR_NO_LOCAL_PORT, "no_local_port", "no local address or port is left for a connection to the backend",                  \
      ALERT_INTERNAL_ERROR)                                                                                                    \
    X(ERR_BACKEND_RESET, "backend_reset", "the backend reset the connection", ALERT_NONE)                                      \
    X(ERR_GREETING_REFUSED, "greeting_refused", "the backend refused the client in its greeting", ALERT_NONE)                  \
    X(ERR_GREETING_PREAUTH, "greeting_preauth", "the backend's greeting takes the client for logged in (PREAUTH)",             \
      ALERT_INTERNAL_ERROR)                                                                                                    \
    X(ERR_GREETING_FORMAT, "greeting_malformed",                                                                               \
      "the backend's first bytes are no greeting of the protocol that starttls names", ALERT_INTERNAL_ERROR)                   \
    X(ERR_GREETING_TOO_LONG, "greeting_too_long", "the backend's greeting is longer than 2,048 bytes", ALERT_INTERNAL_ERROR)   \
    X(ERR_GREETING_CLOSED, "greeting_closed", "the backend closed the connection before its greeting was whole",               \
      ALERT_INTERNAL_ERROR)                                                                                                    \
    X(ERR_GREETING_TIMEOUT, "greeting_timeout", "the backend sent no whole greeting in time", ALERT_INTERNAL_ERROR)            \
    /* end of a session */                                                                                                     \
    X(ERR_CLIENT_RESET, "client_reset", "the client reset the connection", ALERT_NONE)                                         \
    X(ERR_TRUNCATED, "truncated", "the client ended TCP without close_notify", ALERT_NONE)                                     \
    X(ERR_IDLE, "idle_timeout", "no bytes either way for the idle time", ALERT_NONE)                                           \
    X(ERR_LINGER, "linger_timeout", "the client did not close in time", ALERT_NONE)                                            \
    X(ERR_HALF_CLOSED, "half_closed_timeout", "one direction had ended, and the other stayed silent", ALERT_NONE)              \
    X(ERR_PARTIAL_RECORD, "partial_record_timeout", "the client sent a part of a record and not the rest", ALERT_NONE)         \
    X(ERR_STOPPED, "stopped", "tls-off was stopped", ALERT_NONE)                                                               \
    X(ERR_NO_BUFFERS, "no_buffers", "the memory for waiting bytes is used up", ALERT_INTERNAL_ERROR)

enum err {
    ERR_BASE_ = -1000,
#define ERR_ENUM_(sym, name, text, alert) sym,
    ERR_TABLE(ERR_ENUM_)
#undef ERR_ENUM_
        ERR_END_,
};

/* Short stable name ("no_shared_suite"); "ok" for 0 and "unknown" for a number outside the table. Static storage. */
const char *err_name(int err);

/* One sentence, no full stop. Static storage. */
const char *err_text(int err);

/* The same, but of ERR_SYSTEM what ERROR, its errno, says. */
const char *err_describe(int err, int error);

/* Which limit of a process a call has met that failed with ERROR, an errno: " (RLIMIT_...)", or "". Static storage. */
const char *err_process_limit(int error);

/* The alert to send for this error, or ALERT_NONE when silence or another answer is right. */
int err_alert(int err);

/* Whether the number is in the table; for numbers that come from another process. */
bool err_known(int err);

/* The error of that short name; false when there is none (*ret_err is untouched). */
bool err_by_name(struct span name, int *ret_err);

/* The registered name of an alert description ("bad_certificate", RFC 8446 6); "unknown" when there is none. */
const char *alert_name(int alert);
