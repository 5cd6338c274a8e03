/*
 * The numbers behind all answers: counters of all processes, clients, the process table, certificates, read on request and
 * once a second for the rates. Memory of other roles is read as outsiders' bytes are: bounded and checked (shm/stats_read.h).
 */
#pragma once

#include "access/access.h"
#include "conf/conf.h"
#include "creds/creds.h"
#include "observer/rates.h"
#include "shm/proctab.h"
#include "shm/stats_clients.h"
#include "shm/stats_read.h"

#define STATS_VIEW_FRESH_MS 100 /* answers within that time share one reading */
#define HISTORY_SECONDS     300

/* The values rates are kept of, of a service or backend, and of all services together. */
enum rate_kind { RATE_IN, RATE_OUT, RATE_SESSIONS, RATE_HANDSHAKES, RATE_FAILED, RATE_SESSIONS_FAILED, RATE_COUNT };

/* And those of a client. */
enum client_rate { CLIENT_IN, CLIENT_OUT, CLIENT_LET_IN, CLIENT_LIMITED, CLIENT_RATES };

/* What all services together came to by the end of a second. */
struct stats_second {
    uint64_t wall_ms;
    uint64_t totals[RATE_COUNT];
    uint64_t resumed; /* of RATE_HANDSHAKES */
    uint64_t sessions_now;
};

/* How a series is named: 'c' and a client's name, 'v' and a verified name, or a kind, service and name. */
#define RATE_KEY_MAX 512

struct stats_view {
    struct stats_reader stats; /* head == NULL: none */
    struct proctab_page proctab_page;
    struct creds creds;   /* head == NULL: none */
    struct access access; /* head == NULL: none */
    struct stats_sums sums;
    struct stats_clients clients;
    struct proctab proctab;
    bool has_proctab;
    uint64_t read_ms, clients_ms; /* when they were read; 0 = never */
    struct rates *clients_rates, *rows_rates;
    struct stats_second history[HISTORY_SECONDS]; /* slot by number */
    uint64_t seconds;                             /* looked at so far */
};

/* STATS_FD and what follows belong to the caller. False when out of memory; counters that cannot be read are none. */
MUST_CHECK bool stats_view_init(struct stats_view *f, int stats_fd);
void stats_view_fini(struct stats_view *f);

/* New pages; the descriptors stay the caller's. What cannot be read leaves the old one. Errors as the mapping's. */
MUST_CHECK int stats_view_take_proctab(struct stats_view *f, int fd);

/* One of our own processes; false as long as there is no process table. */
bool stats_view_is_own_process(struct stats_view *f, int32_t pid);
MUST_CHECK int stats_view_take_creds(struct stats_view *f, int fd);
MUST_CHECK int stats_view_take_access(struct stats_view *f, int fd);

/* Reads what is older than STATS_VIEW_FRESH_MS, and the process table each time. */
void stats_view_refresh(struct stats_view *f, uint64_t now_ms);
void stats_view_refresh_clients(struct stats_view *f, uint64_t now_ms);

/* Once a second. */
void stats_view_second(struct stats_view *f, uint64_t now_ms);

/*
 * The past, which the status, the stream and so tls-off top begin with: the last N seconds (at most HISTORY_SECONDS, and those
 * there were) are the numbers from this one up to f->seconds.
 */
uint64_t stats_view_past(const struct stats_view *f, uint64_t n);
const struct stats_second *stats_view_at(const struct stats_view *f, uint64_t second);

/* By how much a total grew in a second of the past but the oldest; 0 in the first one ever. */
uint64_t stats_view_growth(const struct stats_view *f, uint64_t second, enum rate_kind v);

/* Rates by span (rates_seconds). */
double stats_view_client_rate(const struct stats_view *f, const struct stats_client *c, enum client_rate v, unsigned span);
double stats_view_row_rate(const struct stats_view *f, enum stats_kind kind, const char *service, const char *name,
                           enum rate_kind v, unsigned span);
double stats_view_total_rate(const struct stats_view *f, enum rate_kind v, unsigned span);

/* A value added up over all rows of a kind, or all processes. */
uint64_t stats_view_sum(const struct stats_view *f, enum stats_kind kind, enum stats_value v);
uint64_t stats_view_process_sum(const struct stats_view *f, enum stats_process v);
