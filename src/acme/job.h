/*
 * One managed certificate: what is known about it and about the order under way, as it survives this process. Times are seconds
 * since 1970, 0 = none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "conf/conf_acme.h"
#include "wire/keymaking.h"

#define JOB_URL_MAX  1024
#define JOB_TEXT_MAX 512

struct job {
    const struct conf_managed *cert;
    uint16_t index; /* of CERT in the configuration */

    /* on disk */
    uint16_t issuer;          /* which of the certificate's issuers, in their order */
    char order[JOB_URL_MAX];  /* the order under way; "" = none */
    char error[JOB_TEXT_MAX]; /* why the last attempt failed; "" = it did not */
    uint32_t failures;        /* attempts in a row without a certificate, the one under way included */
    int64_t next_s;           /* not before this */
    uint64_t issued, failed;  /* attempts, ever */
    char ari[128];            /* the certificate that the following is about */
    int64_t window[2];        /* that the issuer suggests */
    int64_t chosen_s;         /* in that window */
    int64_t ask_s;            /* when it is asked again */
    int64_t installed_s;

    /* known from the keymaker */
    bool inspected;
    int64_t inspect_s; /* asked again then, when it did not answer */
    bool from_issuer;
    bool names_right;
    int64_t not_before, not_after;

    bool wanted; /* an operator asked for a new one */
};

/* All that is on disk, as JSON. False: no room. */
MUST_CHECK bool job_write(const struct job *j, char *to, size_t cap, size_t *ret_len);

/* Takes over what is understood; the rest stays as it is. False: not JSON, or of another certificate. NOW: nothing waits until
 * later than a day from it, as the clock may have been ahead when it was written. */
MUST_CHECK bool job_read(struct job *j, struct span json, int64_t now);

/* What the keymaker says about the certificate in use. Another one than before: the issuer is asked about it anew. */
void job_take_cert(struct job *j, const struct keymaking_cert *c);

/* When the next attempt is due, renewals and failures considered. */
int64_t job_due(const struct job *j);

/* When the certificate should be renewed; 0 = there is none by an issuer that fits. */
int64_t job_renew_at(const struct job *j);

/* Somebody should look: a renewal is overdue, or there is still no certificate after several failures. */
bool job_alarms(const struct job *j, int64_t now);
