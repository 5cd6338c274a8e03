/* Certificates from issuers as the acme role reports them: kept here for the resources, metrics and commands. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/channel.h"
#include "base/defs.h"
#include "conf/conf.h"
#include "observer/ocsp_view.h"
#include "wire/managed.h"

struct admin;
struct http_request;
struct http_reply;
struct exposition;

/* The last news of one certificate. */
struct managed_known {
    bool known;
    struct managed_status status; /* without its texts */
    char state[32];
    char error[MANAGED_ERROR_MAX + 1];
};

/* "" = not known */
struct managed_account_known {
    char url[MANAGED_URL_MAX + 1];
    char hash_prefix[MANAGED_URL_MAX + 1];
    char thumbprint[MANAGED_NAME_MAX + 1];
    char domain[MANAGED_NAME_MAX + 1];
};

struct managed_view {
    const struct conf *conf;
    struct channel acme;
    struct managed_known *certs;            /* by the configuration's places */
    struct managed_account_known *accounts; /* by the configuration's places */
    struct ocsp_view ocsp;
};

/* False when out of memory. */
MUST_CHECK bool managed_view_start(struct managed_view *m, const struct conf *conf, struct loop *loop, unsigned kind);
void managed_view_fini(struct managed_view *m);

/* Takes over the link to the acme role, in place of an earlier one. ERR_SYSTEM (errno). */
MUST_CHECK int managed_view_take_link(struct managed_view *m, int fd);

/* A sentence for each certificate whose alarm rings. */
void managed_view_alarms(const struct managed_view *m, json_t *degraded);

/* Adds how the order of the certificate in FILE stands, when an issuer gives it. */
void managed_view_put_file(const struct managed_view *m, const char *file, json_t *o);

void managed_view_metrics(const struct managed_view *m, struct exposition *x);

/* GET /acme.json; its commands. */
void managed_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
void managed_post(struct admin *a, const struct http_request *q, struct http_reply *r);
