/*
 * Live sessions, as relays report them to the observer: requested page by page, each a bounded piece of work between two turns
 * of the relay's traffic. A page may be empty and yet not be the last one: then a long row of sessions did not fit the
 * question.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/rd.h"
#include "base/span.h"
#include "base/wr.h"
#include "wire/conn_info.h"

#define LISTING_ROWS_MAX 64   /* a page */
#define LISTING_SCAN     1024 /* sessions looked at for a page */
#define LISTING_END      UINT32_MAX
#define LISTING_BODY_MAX (48 * 1024)

enum listing_type { LISTING_ASK = 1, LISTING_PAGE };

extern const struct ipc_rule listing_to_relay[];
extern const struct ipc_rule listing_to_observer[];

struct listing_ask {
    uint32_t id;   /* comes back in the page */
    uint32_t from; /* place to begin at: 0, or NEXT of the page before */
    uint16_t max;  /* rows, at most LISTING_ROWS_MAX count */
    bool by_client;
    uint8_t client[16];  /* as by addr_client_key() */
    struct span name;    /* a verified name; empty = any */
    struct span service; /* empty = all */
};
MUST_CHECK int listing_ask_send(int fd, const struct listing_ask *a);
MUST_CHECK int listing_ask_read(const struct ipc_msg *m, struct listing_ask *ret);

enum listing_state { LISTING_CONNECTING, LISTING_OPEN, LISTING_CLOSING, LISTING_MIGRATING, LISTING_STATES };

struct listing_row {
    uint8_t state;       /* enum listing_state */
    struct span service; /* names, as every generation knows them */
    struct span backend; /* empty = none yet */
    uint64_t bytes_in, bytes_out;
    uint32_t waiting_in, waiting_out; /* bytes their sink has not taken */
    uint64_t idle_ms;
    uint32_t connect_us;
    uint16_t retries;
    struct span conn_info; /* packed */
};

/* A page being written, and sent with what comes next (LISTING_END: nothing). */
struct listing_page {
    uint8_t body[LISTING_BODY_MAX];
    struct wr w;
    uint16_t rows;
};
void listing_page_begin(struct listing_page *p, uint32_t id);

/* False when it has no room for this row: the page goes out without it. */
bool listing_page_add(struct listing_page *p, const struct listing_row *row);
MUST_CHECK int listing_page_send(int fd, struct listing_page *p, uint32_t next);

/* A page being read: its head, then its rows one by one. All ERR_FORMAT when broken; spans borrow M. */
struct listing_reader {
    struct rd r;
    uint32_t id, next;
    uint16_t rows; /* still to come */
};
MUST_CHECK int listing_read(const struct ipc_msg *m, struct listing_reader *ret);
MUST_CHECK int listing_read_row(struct listing_reader *l, struct listing_row *ret, struct conn_info *ret_conn_info);
