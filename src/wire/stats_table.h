/*
 * Everything that is counted, in tables: symbol, short name (as metrics and JSON call it), whether it is a gauge, help.
 * New rows go to the end of their table. A changed table is another layout: processes of both layouts do not share counters.
 */
#pragma once

/* Values of a labelled block. Handshakers fill the handshakes, relays the rest. */
#define STATS_VALUE_TABLE(X)                                                                                                   \
    X(STATS_SESSIONS_NOW, "sessions", true, "Sessions now.")                                                                   \
    X(STATS_SESSIONS, "sessions_total", false, "Sessions that relays have taken.")                                             \
    X(STATS_BYTES_IN, "bytes_in", false, "Plain bytes from clients.")                                                          \
    X(STATS_BYTES_OUT, "bytes_out", false, "Plain bytes to clients.")                                                          \
    X(STATS_HANDSHAKES_NOW, "handshakes", true, "Connections now that are no session yet.")                                    \
    X(STATS_HANDSHAKES_FULL, "handshakes_full", false, "Full handshakes that succeeded.")                                      \
    X(STATS_HANDSHAKES_RESUMED, "handshakes_resumed", false, "Resumed handshakes that succeeded.")                             \
    X(STATS_HANDSHAKES_FAILED, "handshakes_failed", false, "Connections that became no session.")                              \
    X(STATS_PASSED_THROUGH, "passed_through", false, "Connections passed on undecrypted.")                                     \
    X(STATS_SESSIONS_FAILED, "sessions_failed", false, "Sessions that ended with a reason.")                                   \
    X(STATS_TRUNCATIONS, "truncations", false, "Sessions whose client ended TCP without close_notify.")                        \
    X(STATS_CONNECTS_FAILED, "connects_failed", false, "Connects to backends that failed.")                                    \
    X(STATS_BACKLOG_FULL, "backlog_full", false, "Sessions that met a full queue of a backend.")                               \
    X(STATS_EJECTED, "left_out", false, "Times a backend was left out after failed connects.")                                 \
    X(STATS_KEY_UPDATES_IN, "key_updates_in", false, "KeyUpdates received.")                                                   \
    X(STATS_KEY_UPDATES_OUT, "key_updates_out", false, "KeyUpdates sent.")                                                     \
    X(STATS_THROTTLED, "throttled", false, "Times a session waited for its client's byte rate.")                               \
    X(STATS_COUNT, "count", false, "Ends with this reason.")                                                                   \
    X(STATS_EJECTED_NOW, "out_now", true, "Relays that leave this backend out at present.")                                    \
    X(STATS_FULL_NOW, "full_now", true, "Relays that found the queue of this backend full and have had no success since.")     \
    X(STATS_NO_ADDRESS_NOW, "no_address_now", true, "Relays that know no address of this backend's name.")                     \
    X(STATS_LAST_FAULT, "last_fault", false, "The last fault of this backend (wire/backend_fault.h); not added up.")

/* Values of one process. */
#define STATS_PROCESS_TABLE(X)                                                                                                 \
    X(STATS_CPU_US, "cpu_us", false, "CPU time used, microseconds.")                                                           \
    X(STATS_RSS_BYTES, "rss_bytes", true, "Resident memory.")                                                                  \
    X(STATS_SLAB_BYTES, "slab_bytes", true, "Memory of session or connection structs.")                                        \
    X(STATS_OBJECTS, "objects", true, "Sessions (relay) or connections (handshaker) in memory.")                               \
    X(STATS_POOL_BYTES, "pool_bytes", true, "Memory of bytes that wait for their sink.")                                       \
    X(STATS_POOL_PEAK_BYTES, "pool_peak_bytes", true, "The most of it so far.")                                                \
    X(STATS_HANDSHAKE_BYTES, "handshake_bytes", true, "Memory of connections that are no session yet.")                        \
    X(STATS_LIBSSL_NOW, "libssl_now", true, "Handshakes for which libssl is at work.")                                         \
    X(STATS_QUEUE, "queue", true, "Finished handshakes that wait for a relay.")                                                \
    X(STATS_BACKLOG_WAITERS, "backlog_waiters", true, "Sessions that wait: no backend has room for them.")                     \
    X(STATS_EVICTED, "evicted", false, "Sessions ended because buffer_memory was used up.")                                    \
    X(STATS_MEMORY_SHORT, "memory_short", true, "1 while buffer_memory is used up, or nearly.")                                \
    X(STATS_THROTTLED_NOW, "throttled_now", true, "Sessions that wait for their client's byte rate.")                          \
    X(STATS_ACCEPTED, "accepted", false, "Connections accepted.")                                                              \
    X(STATS_ACCEPT_PAUSES, "accept_pauses", false, "Times accepting paused: no descriptors or memory.")                        \
    X(STATS_HANDED_OVER, "handed_over", false, "Sessions a handshaker gave to relays.")                                        \
    X(STATS_TAKEN, "taken", false, "Sessions a relay took from handshakers.")                                                  \
    X(STATS_MIGRATED_OUT, "moved_out", false, "Sessions a relay gave to another relay.")                                       \
    X(STATS_MIGRATED_IN, "moved_in", false, "Sessions a relay took from another relay.")                                       \
    X(STATS_REFUSED, "refused", false, "Sessions that could not be taken over.")                                               \
    X(STATS_GAVE_WAY, "gave_way", false, "Unfinished handshakes that gave way to others.")                                     \
    X(STATS_GAVE_WAY_MS, "gave_way_ms", true, "When one last did, monotonic milliseconds; 0 = none has.")                      \
    X(STATS_CONNECT_SHORT, "connect_short", false,                                                                             \
      "Sessions that waited since we had no descriptor, memory or port to connect.")

/* Distributions, microseconds; in blocks of services, backends and suites. */
#define STATS_HIST_TABLE(X)                                                                                                    \
    X(STATS_HANDSHAKE_US, "handshake", "From accept to the end of the handshake.")                                             \
    X(STATS_CONNECT_US, "connect", "From the choice of a backend to its connection.")                                          \
    X(STATS_FIRST_BYTE_US, "first_byte", "From the session's begin in the relay to the backend's first byte.")

/* What a block is about: symbol, short name, most blocks of it an area, has histograms. */
#define STATS_KIND_TABLE(X)                                                                                                    \
    X(STATS_SERVICE, "service", 256, true) /* service */                                                                       \
    X(STATS_BACKEND, "backend", 512, true) /* service, text of the backend */                                                  \
    X(STATS_NAME, "name", 512, false)      /* service, server name as a certificate has it */                                  \
    X(STATS_CERT, "cert", 512, false)      /* service, certificate's label */                                                  \
    X(STATS_SUITE, "suite", 64, true)      /* "", "TLSv1.3/TLS_AES_128_GCM_SHA256" or "passthrough" */                         \
    X(STATS_REASON, "reason", 1024, false) /* service, reason of a failed connection */                                        \
    X(STATS_END, "end", 1024, false)       /* service, reason of a session that ended with one */

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
