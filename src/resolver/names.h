/*
 * The named backends of a configuration, the addresses they resolve to at present, and what each relay has been sent.
 *
 * The last good addresses of a name stay until better ones come. A relay is sent only what it does not know yet; one whose
 * socket is full is sent it at the next round, one whose socket is gone when it is linked again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "conf/conf.h"
#include "wire/event.h"
#include "wire/resolved.h"

struct name {
    const struct conf_service *service;
    const struct conf_backend *backend;
    struct resolved now; /* n == 0: never resolved */
    uint32_t version;    /* counts changes of NOW */
    int failure;         /* EAI_* of the last try, 0 = it succeeded */
};

struct names_relay {
    int fd;         /* -1 = not linked */
    uint32_t *sent; /* version of each name it knows */
};

struct names {
    struct name *list;
    size_t n;
    struct names_relay relays[WORKERS_MAX];
};

/* Aborts when out of memory. CONF is kept. */
void names_init(struct names *t, const struct conf *conf);
void names_fini(struct names *t);

/* The socket to a relay, owned from here on; an earlier one is closed. INDEX below WORKERS_MAX (MUST). */
void names_link(struct names *t, uint16_t index, int fd);

/* Asks for one name again; waits as long as that takes. Logs what has changed. False when it does not resolve. */
bool names_resolve(struct name *x, struct log *log);

/* Sends every linked relay what it does not know. False when some relay could not take it now. */
bool names_deliver(struct names *t);
