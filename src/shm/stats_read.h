/*
 * The counters as the observer sees them: blocks of equal labels added up over all areas, the processes one by one, clients
 * merged. Nothing in the memory is believed further than to be numbers: lengths and counts are checked, and a read is bounded.
 */
#pragma once

#include "shm/stats.h"

struct stats_head;

struct stats_reader {
    const struct stats_head *head; /* the whole memfd, read-only */
};

/* FD may be closed then. ERR_FORMAT when it is no such memfd or of another layout, ERR_SYSTEM (errno). */
MUST_CHECK int stats_reader_open(int fd, struct stats_reader *ret);
void stats_reader_close(struct stats_reader *r);

/* One process' own values; areas that were never used are omitted. */
struct stats_process_row {
    enum role role;
    uint16_t index;
    uint8_t parity;
    uint64_t values[STATS_PROCESS_COUNT];
};

struct stats_hist_row {
    uint64_t sum;
    uint64_t count;
    uint64_t buckets[STATS_BUCKETS];
};

/* A label's sums. */
struct stats_row {
    enum stats_kind kind;
    char service[STATS_SERVICE_MAX + 1];
    char name[STATS_NAME_MAX + 1];
    uint64_t values[STATS_VALUE_COUNT];
    const struct stats_hist_row *hists; /* STATS_HIST_COUNT of them, or NULL */
};

/* One reading; belongs to the caller, who reads into the same again and again, and frees it once. Zero-initialised is empty. */
struct stats_sums {
    struct stats_row *rows; /* sorted by kind, service, name */
    size_t nrows, cap;
    struct stats_hist_row *hists;
    size_t nhists, hists_cap;
    struct stats_process_row *processes; /* sorted by role, parity, index */
    size_t nprocesses, processes_cap;
};

/* ERR_NOMEM; the reading is then what it was before or less. */
MUST_CHECK int stats_sums_read(const struct stats_reader *r, struct stats_sums *to);
void stats_sums_free(struct stats_sums *s);

/* NULL when there is none. */
const struct stats_row *stats_sums_find(const struct stats_sums *s, enum stats_kind kind, const char *service,
                                        const char *name);

/* The value below which SHARE (0 to 1) of a histogram's values lie, microseconds, to its bucket's upper bound; 0 when empty. */
uint64_t stats_quantile(const struct stats_hist_row *h, double share);
