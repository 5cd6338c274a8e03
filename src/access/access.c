#include "access/access.h"

#include <stdlib.h>
#include <string.h>

#include "access/access_layout.h"
#include "base/err.h"
#include "base/sealed.h"

/* ---- tables ---- */

static const void *part_at(const struct access_head *h, struct access_part p) {
    return (const uint8_t *)h + p.off;
}

static const struct access_service_rec *service_recs(const struct access_head *h) {
    return part_at(h, h->services);
}
static const struct access_use_rec *use_recs(const struct access_head *h) {
    return part_at(h, h->uses);
}
static const struct access_list_rec *list_recs(const struct access_head *h) {
    return part_at(h, h->lists);
}

/* ---- the check ---- */

/* The part begins where the one before ended (*END), rounded up to ALIGN, and lies within the table. */
static bool part_fits(const struct access_head *h, struct access_part p, size_t record, uint64_t align, uint64_t *end) {
    uint64_t begin = (*end + align - 1) & ~(align - 1);
    if (p.off != begin || p.n > ACCESS_MAX / record)
        return false;
    *end = begin + p.n * record;
    return *end <= h->len;
}

static bool parts_fit(const struct access_head *h) {
    uint64_t end = sizeof(*h);
    return part_fits(h, h->services, sizeof(struct access_service_rec), 8, &end) &&
           part_fits(h, h->uses, sizeof(struct access_use_rec), 8, &end) &&
           part_fits(h, h->lists, sizeof(struct access_list_rec), 8, &end) && part_fits(h, h->texts, 1, 8, &end) &&
           part_fits(h, h->data, 1, ACCESS_ALIGN, &end) && end == h->len;
}

static bool file_fits(const struct access_head *h, const struct access_list_rec *l) {
    const char *text = part_at(h, h->texts);
    return l->file_off < h->texts.n && l->file_len < h->texts.n - l->file_off && l->file_len > 0 &&
           !memchr(text + l->file_off, 0, l->file_len) && text[l->file_off + l->file_len] == '\0';
}

static bool data_fits(const struct access_head *h, const struct access_list_rec *l, enum ranges_family family) {
    uint64_t off = l->data_off[family];
    return l->ranges[family] <= RANGES_MAX && off % ACCESS_ALIGN == 0 && off <= h->data.n &&
           (l->ranges[family] == 0 || ranges_len(family, l->ranges[family]) <= h->data.n - off);
}

static bool lists_fit(const struct access_head *h) {
    for (uint64_t i = 0; i < h->lists.n; i++) {
        const struct access_list_rec *l = &list_recs(h)[i];
        if (!file_fits(h, l) || !data_fits(h, l, RANGES_IPV4) || !data_fits(h, l, RANGES_IPV6))
            return false;
    }
    for (uint64_t i = 0; i < h->uses.n; i++)
        if (use_recs(h)[i].list >= h->lists.n || use_recs(h)[i].is_deny > 1)
            return false;
    for (uint64_t i = 0; i < h->services.n; i++) {
        const struct access_service_rec *s = &service_recs(h)[i];
        if (s->nuses > ACCESS_LISTS_MAX || s->first_use > h->uses.n || s->nuses > h->uses.n - s->first_use)
            return false;
    }
    return true;
}

int access_of(struct span bytes, struct access *ret) {
    const struct access_head *h = (const void *)bytes.p;
    if (bytes.len < sizeof(*h) || bytes.len > ACCESS_MAX || (uintptr_t)h % ACCESS_ALIGN != 0 || h->magic != ACCESS_MAGIC ||
        h->format != ACCESS_FORMAT || h->len != bytes.len || !parts_fit(h) || !lists_fit(h))
        return ERR_FORMAT;
    struct ranges *ranges = calloc(h->lists.n * RANGES_FAMILIES + 1, sizeof(*ranges));
    if (!ranges)
        return ERR_NOMEM;
    for (uint64_t i = 0; i < h->lists.n; i++)
        for (unsigned f = 0; f < RANGES_FAMILIES; f++) {
            const struct access_list_rec *l = &list_recs(h)[i];
            const uint8_t *data = part_at(h, h->data);
            ranges_open((enum ranges_family)f, data + l->data_off[f], l->ranges[f], &ranges[i * RANGES_FAMILIES + f]);
        }
    *ret = (struct access){.head = h, .ranges = ranges, .len = bytes.len};
    return 0;
}

int access_map(int fd, struct access *ret) {
    struct span bytes;
    int err = sealed_map(fd, sizeof(struct access_head), ACCESS_MAX, &bytes);
    if (err < 0)
        return err;
    err = access_of(bytes, ret);
    if (err < 0)
        sealed_unmap(bytes);
    else
        ret->mapped = true;
    return err;
}

void access_unmap(struct access *a) {
    if (a->mapped)
        sealed_unmap(span_of(a->head, a->len));
    free(a->ranges);
    *a = (struct access){.head = NULL};
}

/* Where ranges lie follows from how many there are, so all but the data is the same when the lists are; the hash is of the
 * data. */
bool access_equal(const struct access *a, const struct access *b) {
    return a->head->data.off == b->head->data.off && memcmp(a->head, b->head, a->head->data.off) == 0;
}

/* ---- services ---- */

uint32_t access_services(const struct access *a) {
    return (uint32_t)a->head->services.n;
}

static struct access_service_rec service_at(const struct access *a, uint32_t service) {
    MUST(service < a->head->services.n);
    return service_recs(a->head)[service];
}

uint32_t access_service_lists(const struct access *a, uint32_t service) {
    return service_at(a, service).nuses;
}

struct access_verdict access_judge(const struct access *a, uint32_t service, const struct addr *client) {
    struct access_service_rec s = service_at(a, service);
    const struct access_use_rec *uses = use_recs(a->head) + s.first_use;
    enum ranges_family family = client->family == AF_INET ? RANGES_IPV4 : RANGES_IPV6;
    struct access_verdict v = {true, ACCESS_NONE};
    bool has_allow = false;
    uint8_t best = 0;
    for (uint32_t i = 0; i < s.nuses; i++) {
        const struct ranges *r = &a->ranges[uses[i].list * RANGES_FAMILIES + family];
        uint8_t bits = !addr_is_ip(client) ? RANGES_NONE : ranges_find(r, family, client->ip);
        has_allow = has_allow || !uses[i].is_deny;
        if (bits == RANGES_NONE ||
            (v.list != ACCESS_NONE && (bits < best || (bits == best && !(uses[i].is_deny && v.admitted)))))
            continue;
        best = bits;
        v = (struct access_verdict){!uses[i].is_deny, uses[i].list};
    }
    if (v.list == ACCESS_NONE)
        v.admitted = !has_allow;
    return v;
}

bool access_same_rules(const struct access *a, uint32_t service, uint32_t other) {
    struct access_service_rec s = service_at(a, service), o = service_at(a, other);
    const struct access_use_rec *uses = use_recs(a->head);
    return s.nuses == o.nuses && memcmp(uses + s.first_use, uses + o.first_use, s.nuses * sizeof(*uses)) == 0;
}

/* ---- lists ---- */

uint32_t access_lists(const struct access *a) {
    return (uint32_t)a->head->lists.n;
}

static const struct access_list_rec *list_at(const struct access *a, uint32_t list) {
    MUST(list < a->head->lists.n);
    return &list_recs(a->head)[list];
}

struct access_list access_list(const struct access *a, uint32_t list) {
    const struct access_list_rec *l = list_at(a, list);
    const char *texts = part_at(a->head, a->head->texts);
    return (struct access_list){
        .file = texts + l->file_off,
        .networks = l->networks,
        .bad = l->bad,
        .failing_s = l->failing_s,
        .stamp = l->stamp,
    };
}

struct span access_ranges(const struct access *a, uint32_t list, enum ranges_family family, uint32_t *ret_n) {
    const struct access_list_rec *l = list_at(a, list);
    const uint8_t *data = part_at(a->head, a->head->data);
    *ret_n = l->ranges[family];
    return span_of(data + l->data_off[family], *ret_n ? ranges_len(family, *ret_n) : 0);
}
