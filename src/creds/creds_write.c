/*
 * The writer. Records and bytes grow in plain arrays; only creds_seal() knows where they will lie. Equal bytes are found by
 * their hash: what makes many chains cheap is that they share intermediates, names of issuers, and keys.
 */
#include "creds/creds_write.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/grow.h"
#include "base/rand.h"
#include "base/sealed.h"
#include "creds/creds_layout.h"

/* A hash table of numbers, open addressing; what they number is compared by the caller. */
struct index {
    uint32_t *slots; /* number + 1; 0 = free */
    size_t n, used;
};

struct creds_writer {
    struct grow services, entries, keys, certs, refs, bytes, rows;
    struct grow known; /* refs of bytes that are there already */
    struct index known_index, key_index;
    struct hash_key hash_key;
    struct grow names; /* rows of the service at work, in the order they came */
    struct index name_index;
    uint64_t key_stamp;
};

typedef bool (*same_fn)(const struct creds_writer *w, uint32_t number, const void *wanted);

/* The place of WANTED in the table: its number + 1 is there, or 0. The table has a free place. */
static uint32_t *index_find(const struct creds_writer *w, struct index *x, uint64_t hash, same_fn same, const void *wanted) {
    size_t i = (size_t)hash & (x->n - 1);
    while (x->slots[i] && !same(w, x->slots[i] - 1, wanted))
        i = (i + 1) & (x->n - 1);
    return &x->slots[i];
}

/* Makes room for one more: HASH_OF gives the hashes of the present ones. */
static int index_room(struct creds_writer *w, struct index *x,
                      uint64_t (*hash_of)(const struct creds_writer *w, uint32_t number)) {
    if (2 * (x->used + 1) <= x->n)
        return 0;
    size_t n = x->n ? 2 * x->n : 64;
    uint32_t *slots = calloc(n, sizeof(*slots));
    if (!slots)
        return ERR_NOMEM;
    for (size_t k = 0; k < x->n; k++) {
        if (!x->slots[k])
            continue;
        size_t i = (size_t)hash_of(w, x->slots[k] - 1) & (n - 1);
        while (slots[i])
            i = (i + 1) & (n - 1);
        slots[i] = x->slots[k];
    }
    free(x->slots);
    x->slots = slots;
    x->n = n;
    return 0;
}

static void index_clear(struct index *x) {
    free(x->slots);
    *x = (struct index){.slots = NULL};
}

/* ---- bytes, each run once ---- */

static struct span known_bytes(const struct creds_writer *w, uint32_t number) {
    const struct creds_ref *r = grow_at(&w->known, number);
    return span_of(w->bytes.p + r->off, r->len);
}

static uint64_t known_hash(const struct creds_writer *w, uint32_t number) {
    return hash_bytes(&w->hash_key, known_bytes(w, number));
}

static bool same_bytes(const struct creds_writer *w, uint32_t number, const void *wanted) {
    return span_eq(known_bytes(w, number), *(const struct span *)wanted);
}

/* All runs have a zero behind them, so that texts may share it. */
static int intern_bytes(struct creds_writer *w, struct span s, struct creds_ref *ret) {
    if (index_room(w, &w->known_index, known_hash) < 0)
        return ERR_NOMEM;
    uint32_t *place = index_find(w, &w->known_index, hash_bytes(&w->hash_key, s), same_bytes, &s);
    if (*place) {
        *ret = *(struct creds_ref *)grow_at(&w->known, *place - 1);
        return 0;
    }
    size_t off = w->bytes.n;
    if (off + s.len + 1 > CREDS_MAX)
        return ERR_LIMIT;
    uint8_t *to = grow_add(&w->bytes, s.len + 1);
    struct creds_ref *r = to ? grow_add(&w->known, 1) : NULL;
    if (!r)
        return ERR_NOMEM;
    if (s.len)
        memcpy(to, s.p, s.len);
    *r = (struct creds_ref){(uint32_t)off, (uint32_t)s.len};
    *place = (uint32_t)w->known.n;
    w->known_index.used++;
    *ret = *r;
    return 0;
}

static int store_text(struct creds_writer *w, const char *text, struct creds_ref *ret) {
    return intern_bytes(w, span_str(text), ret);
}

/* ---- the writer ---- */

struct creds_writer *creds_writer_new(void) {
    struct creds_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    grow_init(&w->services, sizeof(struct creds_service_rec), CREDS_MAX);
    grow_init(&w->entries, sizeof(struct creds_entry_rec), CREDS_MAX);
    grow_init(&w->keys, sizeof(struct creds_key_rec), CREDS_MAX);
    grow_init(&w->certs, sizeof(struct creds_cert_rec), CREDS_MAX);
    grow_init(&w->refs, sizeof(struct creds_ref), CREDS_MAX);
    grow_init(&w->bytes, 1, CREDS_MAX);
    grow_init(&w->rows, sizeof(struct creds_row), CREDS_MAX);
    grow_init(&w->known, sizeof(struct creds_ref), CREDS_MAX);
    grow_init(&w->names, sizeof(struct creds_row), CREDS_MAX);
    rand_bytes(&w->hash_key, sizeof(w->hash_key));
    return w;
}

void creds_writer_free(struct creds_writer *w) {
    if (!w)
        return;
    struct grow *all[] = {&w->services, &w->entries, &w->keys, &w->certs, &w->refs, &w->bytes, &w->rows, &w->known, &w->names};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        grow_fini(all[i]);
    index_clear(&w->known_index);
    index_clear(&w->key_index);
    index_clear(&w->name_index);
    free(w);
}

static struct creds_service_rec *last_service(const struct creds_writer *w) {
    MUST(w->services.n > 0);
    return grow_at(&w->services, w->services.n - 1);
}

static void lay_row(const struct creds_writer *w, struct creds_row *table, size_t n, const struct creds_row *row) {
    uint64_t hash = hash_bytes(&w->hash_key, span_of(w->bytes.p + row->name.off, row->name.len));
    size_t i = (size_t)(hash >> 32) & (n - 1);
    while (table[i].name.len)
        i = (i + 1) & (n - 1);
    table[i] = *row;
    table[i].hash = (uint32_t)hash;
}

/* The names of the service at work become its table. */
static int end_service(struct creds_writer *w) {
    if (w->services.n == 0 || w->names.n == 0)
        return 0;
    struct creds_service_rec *s = last_service(w);
    size_t n = 4;
    while (n < 2 * w->names.n)
        n *= 2;
    s->rows = (struct creds_range){(uint32_t)w->rows.n, (uint32_t)n};
    struct creds_row *table = grow_add(&w->rows, n);
    if (!table)
        return ERR_NOMEM;
    for (size_t i = 0; i < w->names.n; i++)
        lay_row(w, table, n, grow_at(&w->names, i));
    grow_fini(&w->names);
    index_clear(&w->name_index);
    return 0;
}

int creds_add_service(struct creds_writer *w, const char *name) {
    struct creds_ref ref;
    int err = end_service(w);
    if (err == 0)
        err = store_text(w, name, &ref);
    struct creds_service_rec *s = err == 0 ? grow_add(&w->services, 1) : NULL;
    if (!s)
        return err ? err : ERR_NOMEM;
    s->name = ref;
    s->entries.first = (uint32_t)w->entries.n;
    for (unsigned i = 0; i < CREDS_SLOTS; i++)
        s->fallback[i] = CREDS_NONE;
    return 0;
}

/* ---- keys ---- */

static uint64_t hash_key_rec(const struct creds_writer *w, const struct creds_key_rec *k) {
    return hash_bytes(&w->hash_key, span_of(k, sizeof(*k)));
}

static uint64_t key_hash(const struct creds_writer *w, uint32_t number) {
    return hash_key_rec(w, grow_at(&w->keys, number));
}

/* Equal texts are the same reference, so the records can be compared as they are. */
static bool same_key(const struct creds_writer *w, uint32_t number, const void *wanted) {
    return memcmp(grow_at(&w->keys, number), wanted, sizeof(struct creds_key_rec)) == 0;
}

static int keep_key(struct creds_writer *w, const struct creds_new_entry *e, uint32_t *ret) {
    struct creds_key_rec k;
    memset(&k, 0, sizeof(k));
    k.kind = e->kind;
    int err = store_text(w, e->key_file, &k.file);
    if (err == 0)
        err = store_text(w, e->pass_file ? e->pass_file : "", &k.pass_file);
    if (err == 0)
        err = intern_bytes(w, e->spki, &k.spki);
    if (err == 0)
        err = index_room(w, &w->key_index, key_hash);
    if (err)
        return err;
    uint32_t *place = index_find(w, &w->key_index, hash_key_rec(w, &k), same_key, &k);
    if (!*place) {
        struct creds_key_rec *to = grow_add(&w->keys, 1);
        if (!to)
            return ERR_NOMEM;
        *to = k;
        *place = (uint32_t)w->keys.n;
        w->key_index.used++;
        w->key_stamp = w->key_stamp * UINT64_C(0x9e3779b97f4a7c15) + e->key_stamp + 1;
    }
    *ret = *place - 1;
    return 0;
}

/* ---- entries ---- */

static int store_chain(struct creds_writer *w, const struct creds_new_entry *e, struct creds_range *ret) {
    *ret = (struct creds_range){(uint32_t)w->certs.n, e->nchain};
    for (uint32_t i = 0; i < e->nchain; i++) {
        struct creds_ref der;
        int err = intern_bytes(w, e->chain[i].der, &der);
        struct creds_cert_rec *r = err == 0 ? grow_add(&w->certs, 1) : NULL;
        if (!r)
            return err ? err : ERR_NOMEM;
        *r = (struct creds_cert_rec){e->chain[i].not_before, e->chain[i].not_after, der};
    }
    return 0;
}

int creds_add_entry(struct creds_writer *w, const struct creds_new_entry *e, uint32_t *ret_entry) {
    struct creds_service_rec *s = last_service(w);
    struct creds_entry_rec rec;
    memset(&rec, 0, sizeof(rec));
    rec.ocsp_from = e->ocsp_from;
    rec.ocsp_until = e->ocsp_until;
    rec.service = (uint32_t)w->services.n - 1;
    rec.kind = e->kind;
    rec.leaf_sig = e->leaf_sig;
    rec.chain_sigs = e->chain_sigs;
    rec.names.first = (uint32_t)w->refs.n;
    if (e->nchain == 0 || e->nchain > CREDS_CHAIN_MAX)
        return ERR_LIMIT;
    int err = keep_key(w, e, &rec.key);
    if (err == 0)
        err = store_chain(w, e, &rec.certs);
    if (err == 0)
        err = store_text(w, e->cert_file, &rec.cert_file);
    if (err == 0)
        err = store_text(w, e->issuer, &rec.issuer);
    if (err == 0)
        err = store_text(w, e->serial, &rec.serial);
    if (err == 0)
        err = intern_bytes(w, e->ocsp, &rec.ocsp);
    struct creds_entry_rec *to = err == 0 ? grow_add(&w->entries, 1) : NULL;
    if (!to)
        return err ? err : ERR_NOMEM;
    *to = rec;
    *ret_entry = (uint32_t)w->entries.n - 1;
    if (s->entries.n++ == 0)
        s->fallback[creds_slot_of(e->kind)] = *ret_entry;
    return 0;
}

/* ---- names ---- */

static uint64_t name_hash(const struct creds_writer *w, uint32_t number) {
    const struct creds_row *row = grow_at(&w->names, number);
    return hash_bytes(&w->hash_key, span_of(&row->name, sizeof(row->name)));
}

static bool same_name(const struct creds_writer *w, uint32_t number, const void *wanted) {
    const struct creds_row *row = grow_at(&w->names, number);
    return memcmp(&row->name, wanted, sizeof(row->name)) == 0;
}

static struct creds_row *creds_row_of(struct creds_writer *w, struct creds_ref name) {
    if (index_room(w, &w->name_index, name_hash) < 0)
        return NULL;
    uint32_t *place = index_find(w, &w->name_index, hash_bytes(&w->hash_key, span_of(&name, sizeof(name))), same_name, &name);
    if (*place)
        return grow_at(&w->names, *place - 1);
    if (!w->names.size)
        grow_init(&w->names, sizeof(struct creds_row), CREDS_MAX);
    struct creds_row *row = grow_add(&w->names, 1);
    if (!row)
        return NULL;
    row->name = name;
    for (unsigned i = 0; i < CREDS_SLOTS; i++)
        row->entry[i] = CREDS_NONE;
    *place = (uint32_t)w->names.n;
    w->name_index.used++;
    return row;
}

/* The default serves in other slots too what shares the first name of the first entry. */
static void offer_fallback(struct creds_writer *w, const struct creds_entry_rec *e, uint32_t entry, struct creds_ref name) {
    struct creds_service_rec *s = last_service(w);
    const struct creds_entry_rec *first = grow_at(&w->entries, s->entries.first);
    uint32_t *slot = &s->fallback[creds_slot_of((enum creds_kind)e->kind)];
    if (*slot == CREDS_NONE && first->names.n && memcmp(grow_at(&w->refs, first->names.first), &name, sizeof(name)) == 0)
        *slot = entry;
}

int creds_add_name(struct creds_writer *w, const char *name, uint32_t *ret_other) {
    MUST(w->entries.n > 0);
    uint32_t entry = (uint32_t)w->entries.n - 1;
    struct creds_entry_rec *e = grow_at(&w->entries, entry);
    struct creds_ref ref;
    int err = store_text(w, name, &ref);
    struct creds_row *row = err == 0 ? creds_row_of(w, ref) : NULL;
    struct creds_ref *list = row ? grow_add(&w->refs, 1) : NULL;
    if (!list)
        return err ? err : ERR_NOMEM;
    *list = ref;
    e->names.n++;
    uint32_t *slot = &row->entry[creds_slot_of((enum creds_kind)e->kind)];
    *ret_other = *slot != entry ? *slot : CREDS_NONE;
    if (*slot == CREDS_NONE)
        *slot = entry;
    offer_fallback(w, e, entry, ref);
    return 0;
}

const char *creds_writer_cert_file(const struct creds_writer *w, uint32_t entry) {
    MUST(entry < w->entries.n);
    const struct creds_entry_rec *e = grow_at(&w->entries, entry);
    return (const char *)w->bytes.p + e->cert_file.off;
}

void creds_writer_names(const struct creds_writer *w, uint32_t service, void (*take)(void *ctx, const char *name), void *ctx) {
    MUST(service < w->services.n);
    const struct creds_service_rec *s = grow_at(&w->services, service);
    for (uint32_t i = 0; i < s->entries.n; i++) {
        const struct creds_entry_rec *e = grow_at(&w->entries, s->entries.first + i);
        for (uint32_t k = 0; k < e->names.n; k++) {
            const struct creds_ref *r = grow_at(&w->refs, e->names.first + k);
            take(ctx, (const char *)w->bytes.p + r->off);
        }
    }
}

/* ---- client authentication ---- */

/* Refs of one list follow each other: lists of a service must not be mixed with names of entries, or with each other. */
static int add_der(struct creds_writer *w, struct creds_range *list, struct span der) {
    struct creds_ref ref;
    if (list->n == 0)
        list->first = (uint32_t)w->refs.n;
    if (list->first + list->n != w->refs.n)
        return ERR_LIMIT;
    int err = intern_bytes(w, der, &ref);
    struct creds_ref *to = err == 0 ? grow_add(&w->refs, 1) : NULL;
    if (!to)
        return err ? err : ERR_NOMEM;
    *to = ref;
    list->n++;
    return 0;
}

int creds_add_client_ca(struct creds_writer *w, struct span der) {
    return add_der(w, &last_service(w)->client_ca, der);
}

int creds_add_client_crl(struct creds_writer *w, struct span der) {
    return add_der(w, &last_service(w)->client_crl, der);
}

/* ---- sealing ---- */

/* Where a table lies, behind what lies before it. */
static bool lay_out_table(struct creds_table *t, const struct grow *g, uint64_t *end) {
    uint64_t begin = (*end + 7) & ~(uint64_t)7;
    *end = begin + (uint64_t)g->n * g->size;
    if (*end > CREDS_MAX)
        return false;
    *t = (struct creds_table){(uint32_t)begin, (uint32_t)g->n};
    return true;
}

static void fill(uint8_t *p, const struct creds_head *head, const struct creds_writer *w, creds_digest_fn digest) {
    const struct {
        struct creds_table t;
        const struct grow *g;
    } parts[] = {{head->services, &w->services}, {head->entries, &w->entries}, {head->keys, &w->keys}, {head->certs, &w->certs},
                 {head->refs, &w->refs},         {head->bytes, &w->bytes},     {head->rows, &w->rows}};
    memcpy(p, head, sizeof(*head));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i].g->n)
            memcpy(p + parts[i].t.off, parts[i].g->p, parts[i].g->n * parts[i].g->size);
    digest(span_of(p + sizeof(*head), head->rows.off - sizeof(*head)), ((struct creds_head *)(void *)p)->digest);
}

int creds_seal(struct creds_writer *w, creds_digest_fn digest, int *ret_fd) {
    struct creds_head head;
    uint64_t end = sizeof(head);
    int err = end_service(w);
    if (err)
        return err;
    memset(&head, 0, sizeof(head));
    if (!lay_out_table(&head.services, &w->services, &end) || !lay_out_table(&head.entries, &w->entries, &end) ||
        !lay_out_table(&head.keys, &w->keys, &end) || !lay_out_table(&head.certs, &w->certs, &end) ||
        !lay_out_table(&head.refs, &w->refs, &end) || !lay_out_table(&head.bytes, &w->bytes, &end) ||
        !lay_out_table(&head.rows, &w->rows, &end))
        return ERR_LIMIT;
    head.magic = CREDS_MAGIC;
    head.format = CREDS_FORMAT;
    head.len = end;
    head.key_stamp = w->key_stamp;
    head.hash_key = w->hash_key;
    uint8_t *p;
    int fd;
    err = sealed_begin("tls-off-creds", end, &fd, &p);
    if (err)
        return err;
    fill(p, &head, w, digest);
    err = sealed_end(fd, p, end);
    if (err)
        return err;
    *ret_fd = fd;
    return 0;
}
