/* OCSP responses that are fetched, as the acme role reports them, by the entries of the credential store in use. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "wire/managed.h"

#define OCSP_VIEW_MAX (1u << 20) /* entries */

struct exposition;

struct ocsp_view {
    uint32_t shown; /* the set that is in use here */
    uint32_t set;   /* the one that LIST is about */
    struct ocsp_known {
        bool known;
        struct managed_ocsp status; /* without its text */
        char *error;                /* NULL = none */
    } * list;
    uint32_t n;
};

void ocsp_view_fini(struct ocsp_view *v);

/* News of the acme role; false when they are malformed. */
bool ocsp_view_take(struct ocsp_view *v, const struct ipc_msg *m);

/* What is known of an entry of the set in use, into O: nothing, or an object "ocsp_fetch". */
void ocsp_view_put(const struct ocsp_view *v, uint32_t entry, json_t *o);

void ocsp_view_metrics(const struct ocsp_view *v, struct exposition *x);
