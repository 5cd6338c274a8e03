/*
 * OCSP responses for the certificates in use that name a responder (RFC 6960), where a service wants them: fetched, checked,
 * written into files that the configuration role reads like those of an operator's, and fetched again in the middle of their
 * validity. What a responder says that does not hold changes nothing: the response that is there serves until its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alarm_clock.h"
#include "base/defs.h"
#include "conf/conf.h"
#include "creds/creds.h"
#include "http_out/http_out.h"
#include "ocsp/ocsp.h"
#include "wire/event.h"
#include "wire/managed.h"

#define STAPLES_FETCHES 4 /* at a time, of different responders */

/* One certificate; the same one may be in several entries of the store. */
struct staple {
    char name[OCSP_FILE_NAME_MAX]; /* of the file; the certificate's digest */
    char *url;                     /* NULL: it names no responder, or its issuer is not known */
    uint32_t entry;                /* the first in the store that has it */
    struct managed_ocsp status;    /* as it is reported; SET, ENTRY and ERROR are filled in then */
    char error[MANAGED_ERROR_MAX];
    int64_t asked_s;  /* the last time */
    uint32_t pause_s; /* after the last failure; 0 = none */
    bool had_left;    /* a response served when the last one came */
    bool reported;
};

struct staples_fetch {
    struct staples *owner;
    struct http_out_request http;
    char name[OCSP_FILE_NAME_MAX]; /* of the staple; "" = free */
};

struct staples {
    const struct conf *conf;
    struct http_out *http;
    struct log *log;
    int64_t (*now)(void); /* seconds since 1970 */
    uint64_t (*random)(void);
    bool (*report)(void *ctx, const struct managed_ocsp *o);               /* false: tried again later */
    void (*revoked)(void *ctx, const char *cert_file, int64_t not_before); /* said again with each answer */
    void *ctx;

    char directory[1024];
    struct creds store; /* HEAD NULL = not here yet */
    uint32_t set;
    struct staple *list; /* by name */
    size_t n;
    uint32_t *of_entry; /* place in LIST; UINT32_MAX = not wanted */
    struct staples_fetch fetches[STAPLES_FETCHES];
    size_t turn; /* where looking for one to fetch begins */
    struct alarm_clock clock;
    bool running;
};

/* DIRECTORY: where the files are. What S points to is the caller's. ERR_LIMIT: the name is too long. */
MUST_CHECK int staples_init(struct staples *s, struct loop *loop, const char *directory);

/* The certificates in use are those of the store in FD, which is read here and stays the caller's. ERR_*. */
MUST_CHECK int staples_take(struct staples *s, uint32_t set, int fd);

/* This is the one that fetches; until then it only knows what is there. */
void staples_run(struct staples *s);
void staples_stop(struct staples *s);

/* Reports all of them again. */
void staples_report(struct staples *s);

/*
 * When a response that holds from FROM until UNTIL is fetched again, by RANDOM: behind its middle; one that is older already,
 * as caches give them out: soon.
 */
int64_t staples_refresh(int64_t from, int64_t until, int64_t now, uint64_t random);

/* Seconds until the next try after a failure: LONGEST at most, with what is there lasting LEFT seconds more (0 = nothing is).
 */
int64_t staples_pause(uint32_t longest, int64_t left, uint64_t random);
