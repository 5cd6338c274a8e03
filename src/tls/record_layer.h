/*
 * The record layer of an established session: both directions, and all that may still happen inside them after the handshake
 * (alerts, close_notify, KeyUpdate both ways, refused renegotiation, limits on empty records).
 *
 * Bytes in, bytes out; it knows neither sockets nor time. A record layer is plain data of fixed size; record_layer_pack.h takes
 * it to another process, which continues it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/step.h"
#include "tls/record.h"

#define RECORD_LAYER_IOV_MAX            64  /* plain runs one record_layer_open() returns */
#define RECORD_LAYER_CONTROL_MAX        512 /* room that record_layer_control() and record_layer_alert() need */
#define RECORD_LAYER_RENEGOTIATIONS_MAX 8   /* refused ones in TLS 1.2 before the session ends */

/*
 * Records without data (empty ones, warnings, KeyUpdates) that the client may send in a row before the session ends, and
 * what it may save up beyond: one for each record with data, in either direction. A client that renews its keys by what it
 * receives asks again with every record until our answer has come through behind all that is under way (some MiB).
 */
#define RECORD_LAYER_IDLE_MAX  64
#define RECORD_LAYER_SAVED_MAX 512

/*
 * Seals left under one key when something must be done about it: a KeyUpdate of our own in 1.3; the end of the session, with
 * room for its last alerts, in 1.2. Both are more than one turn of a relay can seal.
 */
#define RECORD_LAYER_SEALS_LOW_1_3 (UINT64_C(1) << 20)
#define RECORD_LAYER_SEALS_LOW_1_2 (UINT64_C(1) << 16)

struct record_layer {
    struct traffic_keys in;
    struct traffic_keys out;
    uint16_t suite_id;
    uint16_t out_max; /* plain bytes a record we send may hold (max_fragment_length, record_size_limit) */
    uint8_t post[5];  /* start of a handshake message not yet complete; 1.2: its header, with the bytes still to come */
    uint8_t post_len;
    int16_t idle_records;   /* of the peer's, in a row, without data; negative = saved up */
    uint8_t renegotiations; /* refused so far */
    uint8_t alert_seen;     /* description of the peer's fatal alert */
    bool key_update_owed;   /* the peer requested an update of our key */
    bool no_renegotiation_owed;
    bool close_seen; /* close_notify came: what follows is ignored (RFC 8446 6.1) */
    bool close_sent;
    uint32_t key_updates_in, key_updates_out;
};

/* The suite; NULL cannot happen for a record layer that record_layer_valid() accepted. */
const struct suite *record_layer_suite(const struct record_layer *p);

/* Whether it makes sense (suite known, lengths in range). */
MUST_CHECK bool record_layer_valid(const struct record_layer *p);

/* What record_layer_open() came to. */
struct record_layer_opened {
    size_t consumed;  /* bytes of input used up: whole records only */
    size_t plain_len; /* sum of the runs */
    size_t padding;   /* bytes of it in these records (RFC 8446 5.4), whatever they hold */
    unsigned niov;
    struct iovec iov[RECORD_LAYER_IOV_MAX]; /* plain runs, inside the input's memory */
    int err;                                /* for STEP_FAILED */
};

/* Data went through in N records, either way: what the peer sends without data is no flood. */
void record_layer_progress(struct record_layer *p, size_t n);

/*
 * Opens the whole records at the front of IN, in place, until the input or the room for runs ends.
 * STEP_DONE: runs are full, call again with the rest. STEP_WANT_READ: what is left is no whole record (less than
 * RECORD_WIRE_MAX). STEP_EOF: close_notify; all later input is to be ignored. STEP_FAILED: ret->err; plain runs before the
 * fault are valid. After any call, record_layer_control_owed() may have become true.
 */
enum step record_layer_open(struct record_layer *p, struct engine_contexts *contexts, uint8_t *in, size_t in_len,
                            struct record_layer_opened *ret);

/*
 * Whether a control record must leave before the next data (KeyUpdate answered or due, no_renegotiation). To be called before
 * every batch of records; a batch of less than RECORD_LAYER_SEALS_LOW_1_2 records then never meets ERR_KEY_LIMIT.
 */
bool record_layer_control_owed(const struct record_layer *p);

/*
 * Writes all control records owed to OUT (RECORD_LAYER_CONTROL_MAX bytes of room). The key may be another afterwards: begin a
 * run of one's own again. ERR_KEY_LIMIT (1.2: the key is used up, but for an alert), ERR_CRYPTO.
 */
MUST_CHECK int record_layer_control(struct record_layer *p, struct engine_contexts *contexts, uint8_t *out, size_t *ret_len);

/*
 * Writes an alert: close_notify and user_canceled as warnings, all others fatal. After close_notify or a fatal alert nothing
 * more may be sent: a later alert comes out empty, and nothing is owed. ERR_CRYPTO, ERR_KEY_LIMIT.
 */
MUST_CHECK int record_layer_alert(struct record_layer *p, struct engine_contexts *contexts, enum alert alert, uint8_t *out,
                                  size_t *ret_len);

/* Wipes all key material; counters and flags stay for the session's report. */
void record_layer_wipe(struct record_layer *p);
