/*
 * The reader. creds_of() looks at every record once: all offsets, counts and references are within the store, texts end, ranges
 * of services do not mix, hash tables have a free row. The accessors rely on that and on the seals, so nothing is checked
 * twice.
 */
#include "creds/creds.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/sealed.h"
#include "creds/creds_layout.h"

#define HOST_NAME_MAX_LEN 255 /* of a host name */

enum creds_slot creds_slot_of(enum creds_kind kind) {
    switch (kind) {
    case CREDS_RSA:
        return CREDS_SLOT_RSA;
    case CREDS_ED25519:
        return CREDS_SLOT_ED25519;
    default:
        return CREDS_SLOT_EC;
    }
}

const char *creds_kind_name(enum creds_kind kind) {
    static const char *const names[CREDS_KINDS] = {"RSA", "P-256", "P-384", "Ed25519"};
    return kind < CREDS_KINDS ? names[kind] : "unknown";
}

/* ---- tables ---- */

static const void *table_at(const struct creds_head *h, uint32_t off) {
    return (const uint8_t *)h + off;
}

static const struct creds_service_rec *services(const struct creds_head *h) {
    return table_at(h, h->services.off);
}
static const struct creds_entry_rec *entries(const struct creds_head *h) {
    return table_at(h, h->entries.off);
}
static const struct creds_key_rec *keys(const struct creds_head *h) {
    return table_at(h, h->keys.off);
}
static const struct creds_cert_rec *certs(const struct creds_head *h) {
    return table_at(h, h->certs.off);
}
static const struct creds_ref *refs(const struct creds_head *h) {
    return table_at(h, h->refs.off);
}
static const struct creds_row *rows(const struct creds_head *h) {
    return table_at(h, h->rows.off);
}

static struct span creds_bytes(const struct creds_head *h, struct creds_ref r) {
    return span_of(table_at(h, h->bytes.off + r.off), r.len);
}

static const char *text_at(const struct creds_head *h, struct creds_ref r) {
    return (const char *)creds_bytes(h, r).p;
}

/* ---- the check ---- */

/* The table begins where the one before ended (*END) and lies within the store. */
static bool table_fits(const struct creds_head *h, struct creds_table t, size_t record, uint64_t *end) {
    uint64_t begin = (*end + 7) & ~(uint64_t)7;
    *end = begin + (uint64_t)t.n * record;
    return t.off == begin && *end <= h->len;
}

static bool tables_fit(const struct creds_head *h) {
    uint64_t end = sizeof(*h);
    return table_fits(h, h->services, sizeof(struct creds_service_rec), &end) &&
           table_fits(h, h->entries, sizeof(struct creds_entry_rec), &end) &&
           table_fits(h, h->keys, sizeof(struct creds_key_rec), &end) &&
           table_fits(h, h->certs, sizeof(struct creds_cert_rec), &end) &&
           table_fits(h, h->refs, sizeof(struct creds_ref), &end) && table_fits(h, h->bytes, 1, &end) &&
           table_fits(h, h->rows, sizeof(struct creds_row), &end) && end == h->len;
}

static bool range_fits(struct creds_range r, struct creds_table t) {
    return r.first <= t.n && r.n <= t.n - r.first;
}

static bool ref_fits(const struct creds_head *h, struct creds_ref r) {
    return r.off <= h->bytes.n && r.len <= h->bytes.n - r.off;
}

/* MIN to MAX bytes without a zero, and one behind them. */
static bool text_fits(const struct creds_head *h, struct creds_ref r, uint32_t min, uint32_t max) {
    return ref_fits(h, r) && r.len >= min && r.len <= max && r.len < h->bytes.n - r.off && !memchr(text_at(h, r), 0, r.len) &&
           text_at(h, r)[r.len] == '\0';
}

static bool names_fit(const struct creds_head *h, struct creds_range r) {
    if (!range_fits(r, h->refs))
        return false;
    for (uint32_t i = 0; i < r.n; i++)
        if (!text_fits(h, refs(h)[r.first + i], 1, HOST_NAME_MAX_LEN))
            return false;
    return true;
}

static bool ders_fit(const struct creds_head *h, struct creds_range r) {
    if (!range_fits(r, h->refs))
        return false;
    for (uint32_t i = 0; i < r.n; i++)
        if (!ref_fits(h, refs(h)[r.first + i]))
            return false;
    return true;
}

static bool key_fits(const struct creds_head *h, const struct creds_key_rec *k) {
    return k->kind < CREDS_KINDS && text_fits(h, k->file, 1, UINT16_MAX) && text_fits(h, k->pass_file, 0, UINT16_MAX) &&
           ref_fits(h, k->spki) && k->spki.len > 0;
}

static bool entry_fits(const struct creds_head *h, const struct creds_entry_rec *e) {
    return e->kind < CREDS_KINDS && e->service < h->services.n && e->key < h->keys.n && keys(h)[e->key].kind == e->kind &&
           range_fits(e->certs, h->certs) && e->certs.n >= 1 && e->certs.n <= CREDS_CHAIN_MAX && names_fit(h, e->names) &&
           text_fits(h, e->cert_file, 1, UINT16_MAX) && text_fits(h, e->issuer, 0, UINT16_MAX) &&
           text_fits(h, e->serial, 0, UINT16_MAX) && ref_fits(h, e->ocsp);
}

/* Each is an entry of SERVICE of the right slot, or none. */
static bool choice_fits(const struct creds_head *h, uint32_t service, const uint32_t entry[CREDS_SLOTS]) {
    for (uint32_t s = 0; s < CREDS_SLOTS; s++) {
        if (entry[s] == CREDS_NONE)
            continue;
        if (entry[s] >= h->entries.n)
            return false;
        const struct creds_entry_rec *e = &entries(h)[entry[s]];
        if (e->service != service || creds_slot_of((enum creds_kind)e->kind) != s)
            return false;
    }
    return true;
}

static bool rows_fit(const struct creds_head *h, uint32_t service, struct creds_range r) {
    uint32_t used = 0;
    if (!range_fits(r, h->rows) || (r.n & (r.n - 1)) != 0)
        return false;
    for (uint32_t i = 0; i < r.n; i++) {
        const struct creds_row *row = &rows(h)[r.first + i];
        if (row->name.len == 0)
            continue;
        used++;
        if (!text_fits(h, row->name, 1, HOST_NAME_MAX_LEN) || !choice_fits(h, service, row->entry))
            return false;
    }
    return r.n == 0 || used < r.n;
}

/* *NEXT: services have their entries one after the other. */
static bool service_fits(const struct creds_head *h, uint32_t i, uint32_t *next) {
    const struct creds_service_rec *s = &services(h)[i];
    if (!text_fits(h, s->name, 1, UINT16_MAX) || !range_fits(s->entries, h->entries) || s->entries.first != *next)
        return false;
    *next += s->entries.n;
    for (uint32_t k = 0; k < s->entries.n; k++)
        if (entries(h)[s->entries.first + k].service != i)
            return false;
    return choice_fits(h, i, s->fallback) && rows_fit(h, i, s->rows) && ders_fit(h, s->client_ca) && ders_fit(h, s->client_crl);
}

static bool records_fit(const struct creds_head *h) {
    for (uint32_t i = 0; i < h->keys.n; i++)
        if (!key_fits(h, &keys(h)[i]))
            return false;
    for (uint32_t i = 0; i < h->certs.n; i++)
        if (!ref_fits(h, certs(h)[i].der) || certs(h)[i].der.len == 0)
            return false;
    for (uint32_t i = 0; i < h->entries.n; i++)
        if (!entry_fits(h, &entries(h)[i]))
            return false;
    uint32_t next = 0;
    for (uint32_t i = 0; i < h->services.n; i++)
        if (!service_fits(h, i, &next))
            return false;
    return next == h->entries.n;
}

int creds_of(struct span bytes, struct creds *ret) {
    const struct creds_head *h = (const void *)bytes.p;
    if (bytes.len < sizeof(*h) || bytes.len > CREDS_MAX || (uintptr_t)h % 8 != 0 || h->magic != CREDS_MAGIC ||
        (h->format == CREDS_FORMAT && (h->len != bytes.len || !tables_fit(h) || !records_fit(h))))
        return ERR_FORMAT;
    if (h->format != CREDS_FORMAT)
        return ERR_UNSUPPORTED; /* of another build */
    *ret = (struct creds){.head = h, .len = bytes.len};
    return 0;
}

int creds_map(int fd, struct creds *ret) {
    struct span bytes;
    int err = sealed_map(fd, sizeof(struct creds_head), CREDS_MAX, &bytes);
    if (err < 0)
        return err;
    err = creds_of(bytes, ret);
    if (err < 0)
        sealed_unmap(bytes);
    else
        ret->mapped = true;
    return err;
}

void creds_unmap(struct creds *c) {
    if (c->mapped)
        sealed_unmap(span_of(c->head, c->len));
    *c = (struct creds){.head = NULL};
}

/* ---- accessors ---- */

const uint8_t *creds_digest(const struct creds *c) {
    return c->head->digest;
}

uint64_t creds_key_stamp(const struct creds *c) {
    return c->head->key_stamp;
}

uint32_t creds_services(const struct creds *c) {
    return c->head->services.n;
}

struct creds_service creds_service(const struct creds *c, uint32_t service) {
    MUST(service < c->head->services.n);
    const struct creds_service_rec *s = &services(c->head)[service];
    return (struct creds_service){
        .name = text_at(c->head, s->name),
        .first_entry = s->entries.first,
        .nentries = s->entries.n,
        .nclient_ca = s->client_ca.n,
        .nclient_crl = s->client_crl.n,
    };
}

static struct span nth_ref(const struct creds *c, struct creds_range r, uint32_t n) {
    return n < r.n ? creds_bytes(c->head, refs(c->head)[r.first + n]) : span_of(NULL, 0);
}

struct span creds_client_ca(const struct creds *c, uint32_t service, uint32_t n) {
    MUST(service < c->head->services.n);
    return nth_ref(c, services(c->head)[service].client_ca, n);
}

struct span creds_client_crl(const struct creds *c, uint32_t service, uint32_t n) {
    MUST(service < c->head->services.n);
    return nth_ref(c, services(c->head)[service].client_crl, n);
}

uint32_t creds_entries(const struct creds *c) {
    return c->head->entries.n;
}

static const struct creds_entry_rec *entry_rec(const struct creds *c, uint32_t entry) {
    MUST(entry < c->head->entries.n);
    return &entries(c->head)[entry];
}

struct creds_entry creds_entry(const struct creds *c, uint32_t entry) {
    const struct creds_entry_rec *e = entry_rec(c, entry);
    return (struct creds_entry){
        .kind = (enum creds_kind)e->kind,
        .service = e->service,
        .key = e->key,
        .nchain = e->certs.n,
        .nnames = e->names.n,
        .leaf_sig = e->leaf_sig,
        .chain_sigs = e->chain_sigs,
        .cert_file = text_at(c->head, e->cert_file),
        .issuer = text_at(c->head, e->issuer),
        .serial = text_at(c->head, e->serial),
        .ocsp = creds_bytes(c->head, e->ocsp),
        .ocsp_from = e->ocsp_from,
        .ocsp_until = e->ocsp_until,
    };
}

struct creds_cert creds_cert(const struct creds *c, uint32_t entry, uint32_t n) {
    const struct creds_entry_rec *e = entry_rec(c, entry);
    MUST(n < e->certs.n);
    const struct creds_cert_rec *r = &certs(c->head)[e->certs.first + n];
    return (struct creds_cert){creds_bytes(c->head, r->der), r->not_before, r->not_after};
}

const char *creds_name(const struct creds *c, uint32_t entry, uint32_t n) {
    const struct creds_entry_rec *e = entry_rec(c, entry);
    MUST(n < e->names.n);
    return text_at(c->head, refs(c->head)[e->names.first + n]);
}

void creds_each_name(const struct creds *c, uint32_t service, void (*take)(void *ctx, const char *name), void *ctx) {
    struct creds_service s = creds_service(c, service);
    for (uint32_t e = s.first_entry; e < s.first_entry + s.nentries; e++)
        for (uint32_t n = 0; n < entry_rec(c, e)->names.n; n++)
            take(ctx, creds_name(c, e, n));
}

uint32_t creds_keys(const struct creds *c) {
    return c->head->keys.n;
}

struct creds_key creds_key(const struct creds *c, uint32_t key) {
    MUST(key < c->head->keys.n);
    const struct creds_key_rec *k = &keys(c->head)[key];
    return (struct creds_key){
        .kind = (enum creds_kind)k->kind,
        .file = text_at(c->head, k->file),
        .pass_file = k->pass_file.len ? text_at(c->head, k->pass_file) : NULL,
        .spki = creds_bytes(c->head, k->spki),
    };
}

/* ---- choosing ---- */

static const struct creds_row *find_row(const struct creds_head *h, const struct creds_service_rec *s, struct span name) {
    uint64_t hash = hash_bytes(&h->hash_key, name);
    for (uint32_t i = 0; i < s->rows.n; i++) {
        const struct creds_row *row = &rows(h)[s->rows.first + (((uint32_t)(hash >> 32) + i) & (s->rows.n - 1))];
        if (row->name.len == 0)
            break;
        if (row->hash == (uint32_t)hash && span_eq(creds_bytes(h, row->name), name))
            return row;
    }
    return NULL;
}

static void fill_slots(uint32_t to[static CREDS_SLOTS], const uint32_t from[static CREDS_SLOTS]) {
    for (unsigned s = 0; s < CREDS_SLOTS; s++)
        if (to[s] == CREDS_NONE)
            to[s] = from[s];
}

enum creds_match creds_choose(const struct creds *c, uint32_t service, const char *name, uint32_t ret[static CREDS_SLOTS]) {
    MUST(service < c->head->services.n);
    const struct creds_service_rec *s = &services(c->head)[service];
    enum creds_match match = CREDS_NO_MATCH;
    size_t len = strnlen(name, HOST_NAME_MAX_LEN + 1);
    const struct creds_row *row = NULL;
    for (unsigned i = 0; i < CREDS_SLOTS; i++)
        ret[i] = CREDS_NONE;
    if (len && len <= HOST_NAME_MAX_LEN && name[0] != '*')
        row = find_row(c->head, s, span_of(name, len));
    if (row) {
        fill_slots(ret, row->entry);
        match = CREDS_EXACT;
    }
    const char *dot = len <= HOST_NAME_MAX_LEN ? strchr(name, '.') : NULL;
    if (dot && dot > name) {
        char wildcard[HOST_NAME_MAX_LEN + 2] = "*";
        size_t rest = len - (size_t)(dot - name);
        memcpy(wildcard + 1, dot, rest);
        row = find_row(c->head, s, span_of(wildcard, rest + 1));
        if (row)
            fill_slots(ret, row->entry);
        if (row && match == CREDS_NO_MATCH)
            match = CREDS_WILDCARD;
    }
    if (match == CREDS_NO_MATCH && s->entries.n) {
        fill_slots(ret, s->fallback);
        match = CREDS_DEFAULT;
    }
    return match;
}
