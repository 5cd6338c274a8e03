/*
 * A client's first bytes: what speaks here, and where its ClientHello message is, which may lie in many records. Bounded, and
 * in time linear in the bytes however they come; hello.h reads what was found.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/step.h"

/* All that the fields of a ClientHello can hold, and the message's header: the bound of libssl, too. */
#define HELLO_MESSAGE_MAX (4 + 131396)
#define HELLO_RECORDS_MAX 4096 /* records one message may be cut into */
#define HELLO_WIRE_MAX    (HELLO_MESSAGE_MAX + 5 * HELLO_RECORDS_MAX)

/* What speaks on this connection, by its first bytes. */
enum sniff { SNIFF_MORE, SNIFF_TLS, SNIFF_SSLV2, SNIFF_HTTP, SNIFF_SSH, SNIFF_PROXY, SNIFF_OTHER };

/* SNIFF_MORE while the bytes so far allow more than one answer. At most 16 bytes are looked at. */
enum sniff hello_sniff(struct span first_bytes);

/* How far hello_measure() has come with one client's bytes. Zeros in the beginning. */
struct hello_scan {
    uint32_t wire_len; /* bytes of its records that are whole */
    uint32_t seen;     /* bytes of the message in them */
    uint32_t need;     /* the message's length, 0 while unknown */
    uint16_t records;
    uint8_t head[4]; /* of the message */
    uint8_t alert;   /* the client's, with ERR_PEER_ALERT */
};

/*
 * Finds the records of the ClientHello message at the front of the client's bytes. IN are all of them so far; what SCAN has
 * seen of them is not looked at again. STEP_WANT_READ: more bytes needed. STEP_DONE: they are the first scan->wire_len bytes of
 * IN. STEP_FAILED: *ret_err is ERR_HELLO_TOO_LONG, ERR_HELLO_UNEXPECTED, ERR_HELLO_MALFORMED, ERR_RECORD_VERSION,
 * ERR_RECORD_OVERFLOW, ERR_RECORD_DECODE, ERR_PEER_ALERT, ERR_HANDSHAKE_CLOSED or an err for what hello_sniff() found
 * (ERR_PLAIN_HTTP, ERR_PLAIN_SSH, ERR_PROXY_UNEXPECTED, ERR_SSLV2, ERR_NOT_TLS). Faults are reported as soon as the bytes show
 * them; more than HELLO_WIRE_MAX bytes are never needed.
 */
enum step hello_measure(struct hello_scan *scan, struct span in, int *ret_err);

/*
 * The message in the records that hello_measure() has found, scan->need bytes. It is copied together into SCRATCH, which has
 * room for that, when they are several; SCRATCH may be NULL when it is one. Borrows IN or SCRATCH.
 */
struct span hello_gather(const struct hello_scan *scan, struct span in, uint8_t *scratch);

/* Both at once; *ret_wire_len = bytes of IN that its records take. */
enum step hello_find(struct hello_scan *scan, struct span in, uint8_t scratch[static HELLO_MESSAGE_MAX],
                     struct span *ret_message, size_t *ret_wire_len, int *ret_err);
