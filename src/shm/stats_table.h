/*
 * Everything that is counted, in tables. A row is the one place of a metric: symbol, name, type, labels, help. /metrics shows
 * each row that has a name (observer/metrics.c), as tls_off_PREFIX_NAME; names follow Prometheus' conventions: base units at
 * the end ("bytes", "seconds"), "_total" of a counter is added there. Rows of one name stand together and differ in a label.
 * A changed table is another layout: processes of two layouts do not share counters.
 */
#pragma once

#include <stdbool.h>

enum stats_type { STATS_COUNTER, STATS_GAUGE };

/*
 * Values of a labeled block. Handshakers fill in handshakes, relays the rest.
 * Symbol, name, type, kinds of blocks that show it, a label and its value, help.
 */
#define STATS_VALUE_TABLE(X)                                                                                                   \
    X(STATS_SESSIONS_NOW, "active_sessions", STATS_GAUGE, STATS_IN(STATS_SERVICE) | STATS_IN(STATS_BACKEND), "", "",           \
      "Sessions at present.")                                                                                                  \
    X(STATS_SESSIONS, "sessions", STATS_COUNTER,                                                                               \
      STATS_IN(STATS_SERVICE) | STATS_IN(STATS_BACKEND) | STATS_IN(STATS_NAME) | STATS_IN(STATS_SUITE), "", "",                \
      "Sessions that relays have taken.")                                                                                      \
    X(STATS_BYTES_IN, "received_bytes", STATS_COUNTER,                                                                         \
      STATS_IN(STATS_SERVICE) | STATS_IN(STATS_BACKEND) | STATS_IN(STATS_NAME) | STATS_IN(STATS_SUITE), "", "",                \
      "Plaintext bytes from clients.")                                                                                         \
    X(STATS_BYTES_OUT, "sent_bytes", STATS_COUNTER,                                                                            \
      STATS_IN(STATS_SERVICE) | STATS_IN(STATS_BACKEND) | STATS_IN(STATS_NAME) | STATS_IN(STATS_SUITE), "", "",                \
      "Plaintext bytes to clients.")                                                                                           \
    X(STATS_HANDSHAKES_NOW, "active_handshakes", STATS_GAUGE, STATS_IN(STATS_SERVICE), "", "",                                 \
      "Connections that are not a session yet.")                                                                               \
    X(STATS_HANDSHAKES_FULL, "handshakes", STATS_COUNTER, STATS_IN(STATS_SERVICE) | STATS_IN(STATS_CERT), "kind", "full",      \
      "Handshakes that succeeded.")                                                                                            \
    X(STATS_HANDSHAKES_RESUMED, "handshakes", STATS_COUNTER, STATS_IN(STATS_SERVICE) | STATS_IN(STATS_CERT), "kind",           \
      "resumed", "Handshakes that succeeded.")                                                                                 \
    X(STATS_HANDSHAKES_FAILED, "handshakes_failed", STATS_COUNTER, STATS_IN(STATS_REASON), "", "",                             \
      "Connections that did not become a session, by reason.")                                                                 \
    X(STATS_PASSED_THROUGH, "passthrough_connections", STATS_COUNTER, STATS_IN(STATS_SERVICE), "", "",                         \
      "Connections passed on undecrypted.")                                                                                    \
    X(STATS_SESSIONS_FAILED, "sessions_failed", STATS_COUNTER, STATS_IN(STATS_END), "", "",                                    \
      "Sessions that ended with an error, by reason.")                                                                         \
    X(STATS_TRUNCATIONS, "truncations", STATS_COUNTER, STATS_IN(STATS_SERVICE), "", "",                                        \
      "Sessions whose client ended TCP without close_notify.")                                                                 \
    X(STATS_CONNECTS_FAILED, "connects_failed", STATS_COUNTER, STATS_IN(STATS_BACKEND), "", "", "Connects that failed.")       \
    X(STATS_BACKLOG_FULL, "backlog_full", STATS_COUNTER, STATS_IN(STATS_BACKEND), "", "",                                      \
      "Sessions that found the backlog of the backend full.")                                                                  \
    X(STATS_EJECTED, "ejections", STATS_COUNTER, STATS_IN(STATS_BACKEND), "", "",                                              \
      "Times a relay ejected the backend after failed connects.")                                                              \
    X(STATS_KEY_UPDATES_IN, "key_updates", STATS_COUNTER, STATS_IN(STATS_SERVICE), "direction", "in", "KeyUpdate messages.")   \
    X(STATS_KEY_UPDATES_OUT, "key_updates", STATS_COUNTER, STATS_IN(STATS_SERVICE), "direction", "out", "KeyUpdate messages.") \
    X(STATS_THROTTLED, "throttled", STATS_COUNTER, STATS_IN(STATS_SERVICE), "", "",                                            \
      "Times a session waited for the byte rate of its client, server name or service.")                                       \
    X(STATS_EJECTED_NOW, "relays", STATS_GAUGE, STATS_IN(STATS_BACKEND), "state", "ejected",                                   \
      "Relays for which the backend is in this state.")                                                                        \
    X(STATS_FULL_NOW, "relays", STATS_GAUGE, STATS_IN(STATS_BACKEND), "state", "full",                                         \
      "Relays for which the backend is in this state.")                                                                        \
    X(STATS_NO_ADDRESS_NOW, "relays", STATS_GAUGE, STATS_IN(STATS_BACKEND), "state", "unresolved",                             \
      "Relays for which the backend is in this state.")                                                                        \
    X(STATS_ADMITTED, "clients", STATS_COUNTER, STATS_IN(STATS_ACCESS), "verdict", "admitted", "Verdicts by access lists.")    \
    X(STATS_DENIED, "clients", STATS_COUNTER, STATS_IN(STATS_ACCESS), "verdict", "denied", "Verdicts by access lists.")        \
    X(STATS_LAST_FAULT, "last_fault", STATS_COUNTER, 0, "", "",                                                                \
      "The last fault of the backend (wire/backend_fault.h); not added up.")

/* Values of one process, with the prefix "process". Symbol, name, type, factor to the base unit, label and value, help. */
#define STATS_PROCESS_TABLE(X)                                                                                                 \
    X(STATS_CPU_US, "cpu_seconds", STATS_COUNTER, 1e-6, "", "", "CPU time used.")                                              \
    X(STATS_RSS_BYTES, "resident_memory_bytes", STATS_GAUGE, 1, "", "", "Resident memory.")                                    \
    X(STATS_SLAB_BYTES, "connection_bytes", STATS_GAUGE, 1, "", "",                                                            \
      "Memory of session (relay) or connection (handshaker) structs.")                                                         \
    X(STATS_OBJECTS, "connections", STATS_GAUGE, 1, "", "", "Sessions (relay) or connections (handshaker) in memory.")         \
    X(STATS_POOL_BYTES, "buffer_bytes", STATS_GAUGE, 1, "", "", "Memory of bytes that wait to be written.")                    \
    X(STATS_POOL_PEAK_BYTES, "buffer_peak_bytes", STATS_GAUGE, 1, "", "",                                                      \
      "The most memory of bytes that waited to be written.")                                                                   \
    X(STATS_HANDSHAKE_BYTES, "handshake_bytes", STATS_GAUGE, 1, "", "", "Memory of connections that are not a session yet.")   \
    X(STATS_LIBSSL_NOW, "libssl_handshakes", STATS_GAUGE, 1, "", "", "Handshakes that have an SSL object.")                    \
    X(STATS_QUEUE, "handoff_queue", STATS_GAUGE, 1, "", "", "Finished handshakes that wait for a relay.")                      \
    X(STATS_BACKLOG_WAITERS, "backlog_waiters", STATS_GAUGE, 1, "", "",                                                        \
      "Sessions that wait because no backend has room for them.")                                                              \
    X(STATS_EVICTED, "sessions_evicted", STATS_COUNTER, 1, "", "", "Sessions ended because buffer_memory was used up.")        \
    X(STATS_MEMORY_SHORT, "memory_short", STATS_GAUGE, 1, "", "", "1 while buffer_memory is used up, or nearly.")              \
    X(STATS_THROTTLED_NOW, "throttled_sessions", STATS_GAUGE, 1, "", "",                                                       \
      "Sessions that wait for the byte rate of their client.")                                                                 \
    X(STATS_ACCEPTED, "connections_accepted", STATS_COUNTER, 1, "", "", "Connections accepted.")                               \
    X(STATS_ACCEPT_PAUSES, "accept_pauses", STATS_COUNTER, 1, "", "",                                                          \
      "Times accepting paused for lack of descriptors or memory.")                                                             \
    X(STATS_MESSAGES_LOST, "control_messages_lost", STATS_COUNTER, 1, "", "",                                                  \
      "Messages of the supervisor that were lost for lack of a descriptor.")                                                   \
    X(STATS_HANDED_OVER, "sessions_handed_off", STATS_COUNTER, 1, "", "", "Sessions a handshaker handed to relays.")           \
    X(STATS_TAKEN, "sessions_taken", STATS_COUNTER, 1, "", "", "Sessions a relay took from handshakers.")                      \
    X(STATS_MIGRATED_OUT, "sessions_migrated", STATS_COUNTER, 1, "direction", "out", "Sessions that migrated between relays.") \
    X(STATS_MIGRATED_IN, "sessions_migrated", STATS_COUNTER, 1, "direction", "in", "Sessions that migrated between relays.")   \
    X(STATS_REFUSED, "sessions_refused", STATS_COUNTER, 1, "", "", "Sessions that could not be taken.")                        \
    X(STATS_GAVE_WAY, "handshakes_evicted", STATS_COUNTER, 1, "", "", "Unfinished handshakes ended to make room for others.")  \
    X(STATS_GAVE_WAY_MS, "", STATS_GAUGE, 1, "", "",                                                                           \
      "When one was last evicted, monotonic milliseconds; 0: never. Not shown.")                                               \
    X(STATS_CONNECT_SHORT, "connects_delayed", STATS_COUNTER, 1, "", "",                                                       \
      "Sessions that waited to connect for lack of a descriptor, memory or port.")                                             \
    X(STATS_BY_OWN, "handshakes_completed", STATS_COUNTER, 1, "path", "own",                                                   \
      "Handshakes completed, by the code that made them.")                                                                     \
    X(STATS_BY_LIBSSL, "handshakes_completed", STATS_COUNTER, 1, "path", "libssl",                                             \
      "Handshakes completed, by the code that made them.")                                                                     \
    X(STATS_CERTS_COMPRESSED, "certificates_compressed", STATS_COUNTER, 1, "", "",                                             \
      "Handshakes that sent our certificate compressed.")                                                                      \
    X(STATS_KEYLOG_ON, "key_log", STATS_GAUGE, 1, "", "", "1 while secrets of some clients are written to the key log.")       \
    X(STATS_KEYLOG_LINES, "key_log_lines", STATS_COUNTER, 1, "", "", "Secrets written to the key log.")                        \
    X(STATS_SPANS_EXPORTED, "", STATS_COUNTER, 1, "", "", "Spans that the collector has taken. Shown by the observer.")        \
    X(STATS_SPANS_REFUSED, "", STATS_COUNTER, 1, "", "", "Spans that it has refused.")                                         \
    X(STATS_SPANS_DROPPED, "", STATS_COUNTER, 1, "", "", "Spans that found no room, or that nobody took in time.")             \
    X(STATS_OWN_FAILED, "own_handshake_failed", STATS_GAUGE, 1, "", "",                                                        \
      "1 when our own handshake was wanted and did not pass its self-test.")

/* Distributions, counted in microseconds, shown in seconds; in blocks of kinds that have some. Symbol, name, kinds that show
 * it, help. */
#define STATS_HIST_TABLE(X)                                                                                                    \
    X(STATS_HANDSHAKE_US, "handshake_seconds", STATS_IN(STATS_SERVICE), "From accept to the end of the handshake.")            \
    X(STATS_CONNECT_US, "connect_seconds", STATS_IN(STATS_SERVICE) | STATS_IN(STATS_BACKEND),                                  \
      "From the start of connecting to a connected backend: waiting for room and failed backends count.")                      \
    X(STATS_FIRST_BYTE_US, "first_byte_seconds", STATS_IN(STATS_SERVICE) | STATS_IN(STATS_BACKEND),                            \
      "From the start of the session in the relay to the first byte of the backend.")

/* What a block is about. Symbol, prefix of its metrics, label beside "service", most blocks of it an area, has histograms. */
#define STATS_KIND_TABLE(X)                                                                                                    \
    X(STATS_SERVICE, "service", "", 256, true)              /* service */                                                      \
    X(STATS_BACKEND, "backend", "backend", 512, true)       /* service, text of the backend */                                 \
    X(STATS_NAME, "server_name", "name", 512, false)        /* service, server name as a certificate has it */                 \
    X(STATS_CERT, "certificate", "certificate", 512, false) /* service, label of the certificate */                            \
    X(STATS_ACCESS, "access", "list", 256, false)           /* service, file or key of the list that decided */                \
    X(STATS_SUITE, "suite", "suite", 64, true)              /* "", "TLSv1.3/TLS_AES_128_GCM_SHA256" or "passthrough" */        \
    X(STATS_REASON, "service", "reason", 1024, false)       /* service, reason of a failed connection */                       \
    X(STATS_END, "service", "reason", 1024, false)          /* service, reason of a failed session */

/* A build that counts nothing (-Dcounters=false), only to measure what counting costs. */
#ifdef WITHOUT_COUNTERS
#define STATS_OFF 1
#else
#define STATS_OFF 0
#endif

#define STATS_ENUM_(sym, ...) sym,
enum stats_value { STATS_VALUE_TABLE(STATS_ENUM_) STATS_VALUE_COUNT };
enum stats_process { STATS_PROCESS_TABLE(STATS_ENUM_) STATS_PROCESS_COUNT };
enum stats_hist { STATS_HIST_TABLE(STATS_ENUM_) STATS_HIST_COUNT };
enum stats_kind { STATS_KIND_TABLE(STATS_ENUM_) STATS_KIND_COUNT };
#undef STATS_ENUM_

#define STATS_IN(kind) (1u << (kind))

/* A row of the tables above. A name of "" is not shown. */
struct stats_metric {
    const char *name, *label, *label_value, *help;
    enum stats_type type;
    unsigned kinds; /* STATS_IN() of each kind of block that shows it */
    double scale;   /* to the base unit */
};

extern const struct stats_metric stats_values[STATS_VALUE_COUNT];
extern const struct stats_metric stats_processes[STATS_PROCESS_COUNT];
extern const struct stats_metric stats_hists[STATS_HIST_COUNT];

struct stats_kind_info {
    const char *prefix, *label; /* label "": the service says it all */
    unsigned cap;
    bool hists;
};
extern const struct stats_kind_info stats_kinds[STATS_KIND_COUNT];
