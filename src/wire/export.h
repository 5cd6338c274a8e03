/*
 * A session on its way from one process to another: from a handshaker to a relay (a hand-off, EXPORT_HANDOFF), or from one
 * relay to the next with everything that this one needs to go on as if nothing had happened. docs/session-format.md has the
 * layout, docs/hand-over-format.md the conversation on the link and who owns a session at which moment.
 *
 * The reader may be of another build than the writer. MAJOR changes when an older reader would do harm, MINOR when it may
 * ignore what is new; new fields stand at the end of the session, of its connection info or of its record layer. Read are MAJOR
 * with any minor, and the major before. Every version that was ever released has a file in tests/vectors/handover.
 *
 * Nothing here knows sockets, the relay's structs or what is in a record layer (tls/record_layer_pack.h). What is read is in
 * range field by field; whether the fields agree with each other is for the relay (relay/export_form.c).
 */
#pragma once

#include "base/defs.h"
#include "wire/conn_info.h"
#include "wire/greeting_kind.h"

/* Minors before this one end, 0: the connection info behind JA4; 1: it behind the verified client; 2: the record layer behind
 * its directions; 3 and 4: the session behind its record layer; 6: the connection info behind the certificate's file; 7: the
 * session behind its greeting. 4 is the first with hand-offs. */
#define EXPORT_MAJOR          1
#define EXPORT_MINOR          8
#define EXPORT_NEVER          UINT64_MAX
#define EXPORT_TIME_MAX       (UINT64_C(1) << 48) /* of any time span here, but for EXPORT_NEVER */
#define EXPORT_TEXT_MAX       1024                /* of a backend's text or path */
#define EXPORT_TRIED_MAX      64
#define EXPORT_TRUNCATION_MAX 1                 /* enum truncation */
#define EXPORT_BACKEND_MAX    3                 /* enum backend_kind + 1, 0 = no backend yet */
#define EXPORT_WAIT_MAX       (2 * 1024 * 1024) /* bytes waiting, a part */
#define EXPORT_READ_AHEAD_MAX (40 * 1024)       /* of the client's behind the handshake, not yet opened */
#define EXPORT_HANDOFF_MAX    (EXPORT_READ_AHEAD_MAX + CONN_INFO_PACKED_MAX + 1024) /* bytes of a hand-off's session */

/* Bits of export_session.flags. */
enum export_flag {
    EXPORT_TLS = 1 << 0,        /* there is a record layer; otherwise bytes pass as they are */
    EXPORT_BACKEND_FD = 1 << 1, /* a descriptor of the backend's socket follows the client's */
    EXPORT_READ_AHEAD = 1 << 2, /* the partial record may hold whole records */
    EXPORT_CONNECTED = 1 << 3,  /* a backend took it */
    EXPORT_QUEUED = 1 << 4,     /* waits for the backlog of its backend */
    EXPORT_CLIENT_SHUT = 1 << 5,
    EXPORT_CLIENT_FIN = 1 << 6,
    EXPORT_RESET_CLIENT = 1 << 7,
    EXPORT_RESET_BACKEND = 1 << 8,
    EXPORT_HANDOFF = 1 << 9, /* no relay has had it: what only relays know is not there */
    EXPORT_FLAGS_KNOWN = (1 << 10) - 1,
};

/*
 * PREFACE: there is a greeting to swallow, and a backend has taken the session or has not yet. An older reader, which would let
 * the client see that greeting, refuses it.
 */
enum export_state { EXPORT_STATE_CONNECTING, EXPORT_STATE_OPEN, EXPORT_STATE_CLOSING, EXPORT_STATE_PREFACE, EXPORT_STATES };
enum export_flow_state { EXPORT_FLOW_OPEN, EXPORT_FLOW_EOF_SEEN, EXPORT_FLOW_SHUT, EXPORT_FLOW_BROKEN, EXPORT_FLOW_STATES };

/* Bytes that wait: those sent ahead in messages of their own, then those in the session itself. */
struct export_bytes {
    uint32_t ahead;
    struct span here;
};

struct export_flow {
    uint64_t bytes;
    uint8_t state; /* enum export_flow_state */
    uint8_t chunk_shift;
    struct export_bytes wait;
};

/* Spans borrow what was read or what is to be written. */
struct export_session {
    uint8_t minor; /* of the writer, when read; */
    bool newer;    /* this build does not know it: parts may have more than is known */
    uint32_t flags;
    struct export_bytes partial; /* of the client's, not yet opened */
    struct span packed_info;     /* connection info, packed as this build does; its service means nothing but in a hand-off */
    struct conn_info conn_info;  /* the same, when read */
    struct span record_layer;    /* packed, with keys; empty without TLS */
    uint8_t greeting;            /* enum greeting: that of the backend is swallowed; only with TLS, and before it has come */

    /* not in a hand-off */
    uint8_t state; /* enum export_state */
    uint8_t client_end, backend_end;
    struct span reason; /* short name of the first fault (base/err.h); empty = none */
    struct export_flow up, down;
    uint64_t deadline_ms;   /* time left to the state's deadline, */
    uint64_t timer_ms;      /* to the next look at it; EXPORT_NEVER = none */
    uint64_t idle_ms;       /* since bytes were last relayed, */
    uint32_t down_idle_ms;  /* since bytes last came from the backend */
    uint64_t connecting_us; /* since the connect began; 0 = not known */
    uint32_t connect_us;    /* what it took */
    uint16_t retries;

    uint32_t first_byte_us; /* from when that began to the backend's first byte; 0 = none yet, or not known */

    struct span service; /* name; what follows counts when the next configuration has no such service */
    uint64_t idle_timeout_ms, linger_timeout_ms, connect_timeout_ms;
    uint8_t truncation;   /* enum truncation */
    uint8_t backend_kind; /* enum backend_kind + 1; 0 = none */
    struct span backend, backend_path;
    uint8_t ntried;
    struct span tried[EXPORT_TRIED_MAX]; /* backends whose connect failed */
};

/* Packs one session into W. Keys are in W's memory then: the caller wipes it. */
void export_pack(struct wr *w, const struct export_session *s);

/* Reads one session as written in that version; connection info is valid until the next call. ERR_FORMAT, ERR_UNSUPPORTED
 * (version). */
MUST_CHECK int export_unpack(struct span blob, uint8_t major, uint8_t minor, struct export_session *ret);
