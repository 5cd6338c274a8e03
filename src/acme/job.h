/*
 * One managed certificate: what is known about it and about the order under way, as it survives this process. Times are seconds
 * since 1970, 0 = none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf_acme.h"
#include "wire/keymaking.h"

#define JOB_URL_MAX  1024
#define JOB_TEXT_MAX 512
#define JOB_JSON_MAX 32768 /* of all that is on disk */

struct job {
    const struct conf_managed *cert;
    uint16_t index; /* of CERT in the configuration */
    uint64_t names_number, issuer_numbers[CONF_ISSUERS_MAX];

    /* on disk */
    uint16_t issuer;                            /* which of the certificate's issuers, in their order */
    char orders[CONF_ISSUERS_MAX][JOB_URL_MAX]; /* under way, at each of them; "" = none. All have one key. */
    bool unsure[CONF_ISSUERS_MAX];              /* newOrder was sent there, and what it came to is not known */
    char error[JOB_TEXT_MAX];                   /* why the last attempt failed; "" = it did not */
    uint32_t failures;                          /* attempts in a row without a certificate, the one under way included */
    int64_t next_s;                             /* not before this */
    int64_t blocked_s[CONF_ISSUERS_MAX];        /* nor at that one of its issuers before this, as it said */
    uint64_t issued, failed;                    /* attempts, ever */
    char ari[128];                              /* the certificate that the following is about */
    char issued_by[65];                         /* the name of the issuer that it is of; "" = not known, ISSUER is supposed */
    int64_t window[2];                          /* that the issuer suggests */
    int64_t chosen_s;                           /* in that window */
    int64_t ask_s;                              /* when it is asked again */
    int64_t installed_s;

    /* known from the keymaker */
    bool inspected;
    int64_t inspect_s; /* asked again then, when it did not answer */
    bool from_issuer;
    bool names_right;
    int64_t not_before, not_after;

    uint64_t version; /* in the store of the fleet; 0 = it is not from there */

    int64_t revoked_from; /* not_before of the one that its issuer has revoked, as an OCSP response says */
    bool wanted;          /* an operator asked for a new one; on disk as well */
    bool revoking;        /* the one in use: on disk a new one is wanted, whether the answer comes or not */
    uint64_t held_ms;     /* another instance has it: not looked at before this; monotonic */
    bool check;           /* the store may have a newer certificate */
    uint64_t alone;       /* when it is ordered without the store: its random number; 0 = not chosen */

    int64_t alarmed_s; /* when the log last said that somebody should look; 0 = there is no alarm */
};

/* The INDEX-th certificate of A; nothing is known about it. */
void job_init(struct job *j, const struct conf_acme *a, uint16_t index);

/* All that is on disk, as JSON. False: no room. */
MUST_CHECK bool job_write(const struct job *j, char *to, size_t cap, size_t *ret_len);

/* Takes over what is understood; the rest stays as it is. False: not JSON, or of another certificate. NOW: nothing waits until
 * later than a day from it, as the clock may have been ahead when it was written. The configuration may have changed since: of
 * attempts for other names nothing is taken over, nor of issuers that are not there any more; a new issuer is asked at once. */
MUST_CHECK bool job_read(struct job *j, struct span json, int64_t now);

/* What the keymaker says about the certificate in use. Another one than before: the issuer is asked about it again. */
void job_take_cert(struct job *j, const struct keymaking_cert *c);

/* A new certificate, or with C's issuer empty still the one before, is in use, and the attempt over. */
void job_take_shared(struct job *j, const struct keymaking_cert *c, int64_t now);

/* The certificate in use is of the issuer NAME. A name without room is not known. */
void job_set_issued_by(struct job *j, struct span name);

/* As job_read(), of what another instance has written: about an order of a certificate that may have another ID there. What it
 * says about the certificate in use is of when that order ended: what is known here is newer, and stays. */
MUST_CHECK bool job_read_shared(struct job *j, struct span json, int64_t now);

/* The wall clock was set by BY_S seconds: pauses stay as long as they were. */
void job_move_clock(struct job *j, int64_t by_s);

/* An order that a crash interrupted is gone on with at once, but a crash loop waits as failures do. */
bool job_is_due(const struct job *j, int64_t now);

/* An order is under way, at any of its issuers. */
bool job_has_order(const struct job *j);

/* None is any more, or is of use. */
void job_drop_orders(struct job *j);

/* The first of its issuers, from the one at PLACE on, that has not asked to be left alone for longer than NOW; how many there
 * are = none. */
uint16_t job_open_issuer(const struct job *j, uint16_t place, int64_t now);

/* The earliest time at which one of its issuers may be asked, by what they said; 0 = one may always be. */
int64_t job_open_at(const struct job *j);

/* The attempt that was counted last has no outcome: its maker is gone, unless it is under way. */
bool job_was_left(const struct job *j);

/* Seconds until it may be ordered without the store, which is away for AWAY_S: in the last sixth of the lifetime, at a time
 * that J's random number chooses, so that not all do it at once. Where there is no certificate yet, or a revoked one, no wall
 * clock matters. */
int64_t job_alone_in_s(const struct job *j, int64_t now, int64_t away_s);

/* When the next attempt is due, renewals and failures considered. */
int64_t job_due(const struct job *j);

/* When the certificate should be renewed; 0 = there is none by an issuer that fits. A time that the issuer suggests counts, but
 * not one that leaves less time than an attempt that fails needs. */
int64_t job_renew_at(const struct job *j);

/* Somebody should look: a renewal is overdue, or there is still no certificate after several failures. */
bool job_alarms(const struct job *j, int64_t now);

/* Somebody waits, or the certificate is about to end: issuers that are left alone are asked all the same. */
bool job_is_urgent(const struct job *j, int64_t now);

enum job_alarm_news {
    JOB_ALARM_OLD,   /* nothing that the log has not said already */
    JOB_ALARM_RINGS, /* for the first time, or still after six hours */
    JOB_ALARM_ENDS,
};

/* To be looked at every now and then. What the log should say is added to LINE: what is wrong, why, and what to do. */
enum job_alarm_news job_alarm_news(struct job *j, int64_t now, struct text *line);
