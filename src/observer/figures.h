/*
 * The numbers behind all answers: counters of all processes, clients, the roster, certificates, read when somebody asks and
 * once a second for the rates. Memory of other roles is read as outsiders' bytes are: bounded and checked (wire/stats_read.h).
 */
#pragma once

#include "conf/conf.h"
#include "observer/rates.h"
#include "wire/creds.h"
#include "wire/roster.h"
#include "wire/stats_read.h"

#define FIGURES_FRESH_MS 100 /* answers within that time share one reading */
#define HISTORY_SECONDS  60

/* The values rates are kept of, of a service or backend, and of all services together. */
enum figure { FIGURE_IN, FIGURE_OUT, FIGURE_SESSIONS, FIGURE_HANDSHAKES, FIGURE_FAILED, FIGURE_SESSIONS_FAILED, FIGURES };

/* How a series is named: 'c' and a client's name, 'v' and a verified name, or a kind, service and name. */
#define FIGURE_KEY_MAX 512

struct figures {
    struct stats_reader stats; /* head == NULL: none */
    struct roster_page roster_page;
    struct creds creds; /* head == NULL: none */
    struct stats_sums sums;
    struct stats_clients clients;
    struct roster roster;
    bool has_roster;
    uint64_t read_ms, clients_ms; /* when they were read; 0 = never */
    struct rates *clients_rates, *rows_rates;
    uint64_t totals[FIGURES];
    uint64_t history[HISTORY_SECONDS][FIGURES]; /* growth second by second, slot by number */
    uint64_t seconds;                           /* looked at so far */
};

/* STATS_FD and what follows belong to the caller. False for want of memory; counters that cannot be read are none. */
MUST_CHECK bool figures_init(struct figures *f, int stats_fd);
void figures_fini(struct figures *f);

/* New pages; the descriptors stay the caller's. What cannot be read leaves the old one. Errors as the mapping's. */
MUST_CHECK int figures_take_roster(struct figures *f, int fd);

/* One of our own processes; false as long as there is no roster. */
bool figures_is_own_process(struct figures *f, int32_t pid);
MUST_CHECK int figures_take_creds(struct figures *f, int fd);

/* Reads what is older than FIGURES_FRESH_MS, and the roster each time. */
void figures_refresh(struct figures *f, uint64_t now_ms);
void figures_refresh_clients(struct figures *f, uint64_t now_ms);

/* Once a second. */
void figures_second(struct figures *f, uint64_t now_ms);

/* Rates by span (rates_seconds). */
double figures_client_rate(const struct figures *f, const struct stats_client *c, enum figure v, unsigned span);
double figures_row_rate(const struct figures *f, enum stats_kind kind, const char *service, const char *name, enum figure v,
                        unsigned span);
double figures_total_rate(const struct figures *f, enum figure v, unsigned span);

/* A value added up over all rows of a kind, or all processes. */
uint64_t figures_sum(const struct figures *f, enum stats_kind kind, enum stats_value v);
uint64_t figures_process_sum(const struct figures *f, enum stats_process v);
