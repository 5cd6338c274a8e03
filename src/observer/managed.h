/* Certificates from issuers as the acme role reports them: kept here for the resources, metrics and commands. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "conf/conf.h"
#include "wire/managed.h"

struct admin;
struct loop;
struct exposition;

/* The last news of one certificate. */
struct managed_known {
    bool heard;
    struct managed_status status; /* without its texts */
    char state[32];
    char error[MANAGED_ERROR_MAX + 1];
};

struct managed {
    struct loop *loop;
    const struct conf *conf;
    unsigned kind;               /* of loop events */
    int fd;                      /* to the acme role; -1 = it is away */
    struct managed_known *certs; /* by the configuration's places */
    char (*accounts)[MANAGED_URL_MAX + 1];
};

/* False when out of memory. */
MUST_CHECK bool managed_start(struct managed *m, const struct conf *conf, struct loop *loop, unsigned kind);
void managed_fini(struct managed *m);

/* Takes over the link to the acme role, in place of an earlier one. */
void managed_take_link(struct managed *m, int fd);

void managed_metrics(const struct managed *m, struct exposition *x);
