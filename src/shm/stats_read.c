/* See stats_read.h. Rows are found again by a hash table that lives as long as one reading. */
#include "shm/stats_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "shm/relaxed.h"
#include "shm/stats_layout.h"

int stats_reader_open(int fd, struct stats_reader *ret) {
    int err = stats_check_fd(fd);
    if (err < 0)
        return err;
    void *p = mmap(NULL, STATS_SIZE, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED)
        return ERR_SYSTEM;
    (void)madvise(p, STATS_SIZE, MADV_DONTDUMP); /* large, and nothing that explains a crash */
    *ret = (struct stats_reader){p};
    return 0;
}

void stats_reader_close(struct stats_reader *r) {
    if (r->head)
        munmap((void *)(uintptr_t)r->head, STATS_SIZE);
    r->head = NULL;
}

/* Area number I; NULL when it was never used. */
const struct stats_area *stats_area_of(const struct stats_reader *r, size_t i) {
    if (!LOAD(&r->head->touched[i]))
        return NULL;
    return (const void *)((const uint8_t *)r->head + stats_area_off(i));
}

void *stats_grow(void *array, size_t *cap, size_t n, size_t size) {
    if (n < *cap)
        return array;
    size_t more = *cap ? *cap * 2 : 64;
    void *p = realloc(array, more * size);
    if (p)
        *cap = more;
    return p;
}

/* ---- the index of one reading ---- */

uint32_t *stats_fold_find(struct stats_fold *f, uint64_t hash, bool (*same)(const void *ctx, uint32_t row), const void *ctx) {
    for (size_t i = hash & (f->size - 1);; i = (i + 1) & (f->size - 1))
        if (!f->slots[i] || same(ctx, f->slots[i] - 1))
            return &f->slots[i];
}

bool stats_fold_begin(struct stats_fold *f, size_t rows) {
    f->size = 64;
    while (f->size < rows * 2)
        f->size *= 2;
    f->slots = calloc(f->size, sizeof(*f->slots));
    return f->slots;
}

/* ---- blocks ---- */

/* A block as it is, label included; false when it makes no sense. */
static bool read_stats_block(const struct stats_area *a, enum stats_kind kind, uint32_t i, struct stats_row *ret,
                             struct stats_hist_row hists[STATS_HIST_COUNT]) {
    const struct stats_block *b =
        (const void *)((const uint8_t *)a + stats_blocks_off(kind) + (size_t)i * stats_block_size(kind));
    uint16_t len = LOAD(&b->len), service_len = LOAD(&b->service_len);
    if (len > STATS_NAME_MAX || service_len > STATS_SERVICE_MAX)
        return false;
    memset(ret, 0, sizeof(*ret));
    ret->kind = kind;
    memcpy(ret->service, b->service, service_len);
    memcpy(ret->name, b->name, len);
    for (unsigned v = 0; v < STATS_VALUE_COUNT; v++)
        ret->values[v] = LOAD(&b->values[v]);
    for (unsigned h = 0; stats_kinds[kind].hists && h < STATS_HIST_COUNT; h++) {
        hists[h] = (struct stats_hist_row){.sum = LOAD(&b->hists[h].sum)};
        for (unsigned k = 0; k < STATS_BUCKETS; k++) {
            hists[h].buckets[k] = LOAD(&b->hists[h].buckets[k]);
            hists[h].count += hists[h].buckets[k];
        }
    }
    return true;
}

struct label_match {
    const struct stats_sums *sums;
    const struct stats_row *row;
};

static bool same_label(const void *ctx, uint32_t row) {
    const struct label_match *w = ctx;
    const struct stats_row *r = &w->sums->rows[row];
    return r->kind == w->row->kind && strcmp(r->service, w->row->service) == 0 && strcmp(r->name, w->row->name) == 0;
}

static void add_hists(struct stats_hist_row *to, const struct stats_hist_row *from) {
    for (unsigned h = 0; h < STATS_HIST_COUNT; h++) {
        to[h].sum += from[h].sum;
        to[h].count += from[h].count;
        for (unsigned k = 0; k < STATS_BUCKETS; k++)
            to[h].buckets[k] += from[h].buckets[k];
    }
}

/* Rows point at their histograms only at the end, when the array is no longer reallocated: until then the pointer is a number
 * + 1. */
static int add_row(struct stats_sums *to, struct stats_fold *f, const struct stats_row *row,
                   const struct stats_hist_row *hists) {
    static const struct hash_key key = {0x73746174, 0x726f7773};
    const struct label_match w = {to, row};
    uint64_t hash = hash_bytes(&key, span_str(row->service)) * 31 + hash_bytes(&key, span_str(row->name)) + row->kind;
    uint32_t *slot = stats_fold_find(f, hash, same_label, &w);
    bool with_hists = stats_kinds[row->kind].hists;
    if (!*slot && (to->nrows + 1) * 2 > f->size) /* an area that came into use meanwhile: the next reading has it */
        return 0;
    if (!*slot) {
        struct stats_row *rows = stats_grow(to->rows, &to->cap, to->nrows, sizeof(*to->rows));
        if (!rows)
            return ERR_NOMEM;
        to->rows = rows;
        struct stats_hist_row *more =
            with_hists ? stats_grow(to->hists, &to->hists_cap, to->nhists + STATS_HIST_COUNT - 1, sizeof(*more)) : to->hists;
        if (with_hists && !more)
            return ERR_NOMEM;
        to->hists = more;
        to->rows[to->nrows] = *row;
        if (with_hists) {
            to->rows[to->nrows].hists = (const void *)(uintptr_t)(to->nhists + 1);
            memcpy(&to->hists[to->nhists], hists, STATS_HIST_COUNT * sizeof(*hists));
            to->nhists += STATS_HIST_COUNT;
        }
        *slot = (uint32_t)++to->nrows;
        return 0;
    }
    struct stats_row *sum = &to->rows[*slot - 1];
    for (unsigned v = 0; v < STATS_VALUE_COUNT; v++)
        sum->values[v] = v == STATS_LAST_FAULT ? MAX(sum->values[v], row->values[v]) : sum->values[v] + row->values[v];
    if (with_hists)
        add_hists(&to->hists[(uintptr_t)sum->hists - 1], hists);
    return 0;
}

static uint32_t blocks_used(const struct stats_area *a, unsigned kind) {
    return MIN(__atomic_load_n(&a->used[kind], __ATOMIC_ACQUIRE), stats_kinds[kind].cap + 1);
}

static int read_area(const struct stats_area *a, struct stats_sums *to, struct stats_fold *f) {
    int err = 0;
    for (unsigned kind = 0; kind < STATS_KIND_COUNT; kind++)
        for (uint32_t i = 0, n = blocks_used(a, kind); i < n && err == 0; i++) {
            struct stats_row row;
            struct stats_hist_row hists[STATS_HIST_COUNT];
            if (read_stats_block(a, (enum stats_kind)kind, i, &row, hists))
                err = add_row(to, f, &row, hists);
        }
    return err;
}

static int read_process(const struct stats_area *a, size_t number, struct stats_sums *to) {
    struct stats_process_row *rows = stats_grow(to->processes, &to->processes_cap, to->nprocesses, sizeof(*rows));
    if (!rows)
        return ERR_NOMEM;
    to->processes = rows;
    struct stats_process_row *p = &to->processes[to->nprocesses++];
    *p = (struct stats_process_row){
        .role = (enum role)(number / STATS_INDEX_MAX / 2),
        .index = (uint16_t)(number % STATS_INDEX_MAX),
        .parity = number / STATS_INDEX_MAX % 2,
    };
    for (unsigned v = 0; v < STATS_PROCESS_COUNT; v++)
        p->values[v] = LOAD(&a->process[v]);
    return 0;
}

static int by_label(const void *a, const void *b) {
    const struct stats_row *x = a, *y = b;
    int c = (x->kind > y->kind) - (x->kind < y->kind);
    if (c == 0)
        c = strcmp(x->service, y->service);
    return c ? c : strcmp(x->name, y->name);
}

int stats_sums_read(const struct stats_reader *r, struct stats_sums *to) {
    struct stats_fold f = {0};
    size_t rows = 0;
    int err = 0;
    to->nrows = to->nhists = to->nprocesses = 0;
    for (size_t i = 0; i < STATS_AREAS; i++)
        for (unsigned kind = 0; stats_area_of(r, i) && kind < STATS_KIND_COUNT; kind++)
            rows += stats_kinds[kind].cap + 1; /* used may grow meanwhile */
    if (!stats_fold_begin(&f, rows))
        return ERR_NOMEM;
    for (size_t i = 0; i < STATS_AREAS && err == 0; i++)
        if (stats_area_of(r, i)) {
            err = read_process(stats_area_of(r, i), i, to);
            if (err == 0)
                err = read_area(stats_area_of(r, i), to, &f);
        }
    free(f.slots);
    for (size_t i = 0; i < to->nrows; i++)
        if (to->rows[i].hists)
            to->rows[i].hists = &to->hists[(uintptr_t)to->rows[i].hists - 1];
    if (to->nrows)
        qsort(to->rows, to->nrows, sizeof(*to->rows), by_label);
    return err;
}

void stats_sums_free(struct stats_sums *s) {
    free(s->rows);
    free(s->hists);
    free(s->processes);
    *s = (struct stats_sums){0};
}

const struct stats_row *stats_sums_find(const struct stats_sums *s, enum stats_kind kind, const char *service,
                                        const char *name) {
    for (size_t i = 0; i < s->nrows; i++)
        if (s->rows[i].kind == kind && strcmp(s->rows[i].service, service) == 0 && strcmp(s->rows[i].name, name) == 0)
            return &s->rows[i];
    return NULL;
}

uint64_t stats_quantile(const struct stats_hist_row *h, double share) {
    double want = share * (double)h->count, seen = 0;
    for (unsigned i = 0; i < STATS_BUCKETS; i++) {
        seen += (double)h->buckets[i];
        if (h->buckets[i] && seen >= want)
            return stats_bucket_bound(i < STATS_BUCKETS - 1 ? i : i - 1);
    }
    return 0;
}
