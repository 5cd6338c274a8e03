/* Numbers are in base 128, least significant first, the highest bit meaning that more follow: most of them are small. */
#include "wire/summary.h"

#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "shm/peers.h"

#define FORM               2
#define SUMMARY_NUMBER_MAX 10 /* bytes */

/* Bytes of an address or network that say which one it is, and where they are in the key. */
static const struct {
    uint8_t at, len;
} parts[] = {
    [SUMMARY_IPV4] = {12, 4},
    [SUMMARY_IPV6_64] = {0, 8},
    [SUMMARY_IPV6_56] = {0, 7},
    [SUMMARY_IPV6_48] = {0, 6},
};

static unsigned values_of(enum summary_kind kind) {
    return kind == SUMMARY_IPV6_56 || kind == SUMMARY_IPV6_48 ? SUMMARY_OF_NETS : SUMMARY_VALUES;
}

int summary_order(const struct summary_entry *a, const struct summary_entry *b) {
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    int c = memcmp(a->key, b->key, MIN(a->key_len, b->key_len));
    return c ? c : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* ---- writing ---- */

static void write_number(struct wr *w, uint64_t v) {
    for (; v >= 128; v >>= 7)
        wr_u8(w, (uint8_t)(v | 128));
    wr_u8(w, (uint8_t)v);
}

bool summary_write_head(struct wr *w, const struct summary_head *head) {
    wr_u8(w, FORM);
    wr_u64(w, head->instance);
    wr_u64(w, head->seq);
    wr_u64(w, head->time_s);
    wr_vec8(w, head->name);
    for (unsigned v = 0; v < SUMMARY_OF_NETS; v++)
        write_number(w, head->floor[v]);
    return wr_end(w);
}

bool summary_write_entry(struct wr *w, const struct summary_entry *e) {
    struct wr before = *w;
    wr_u8(w, (uint8_t)e->kind);
    if (e->kind == SUMMARY_VERIFIED)
        wr_vec8(w, span_of(e->key, e->key_len));
    else
        wr_bytes(w, e->key + parts[e->kind].at, parts[e->kind].len);
    for (unsigned v = 0; v < values_of(e->kind); v++)
        write_number(w, e->values[v]);
    if (wr_end(w))
        return true;
    *w = before;
    return false;
}

/* ---- reading ---- */

/* One that is longer than it has to be, or than 64 bits, is wrong. */
static uint64_t read_number(struct rd *r) {
    uint64_t v = 0;
    for (unsigned i = 0; i < SUMMARY_NUMBER_MAX; i++) {
        uint8_t byte = rd_u8(r);
        if (i == SUMMARY_NUMBER_MAX - 1 && byte > 1)
            break;
        v |= (uint64_t)(byte & 127) << 7 * i;
        if (byte < 128) {
            r->bad = r->bad || (byte == 0 && i > 0);
            return v;
        }
    }
    r->bad = true;
    return 0;
}

static bool is_printable(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return s.len > 0;
}

int summary_begin(struct summary_reader *s, struct span bytes, struct summary_head *ret) {
    *s = (struct summary_reader){.r = rd_of(bytes)};
    struct summary_head head = {0};
    bool known = rd_u8(&s->r) == FORM;
    head.instance = rd_u64(&s->r);
    head.seq = rd_u64(&s->r);
    head.time_s = rd_u64(&s->r);
    head.name = rd_vec8(&s->r);
    for (unsigned v = 0; v < SUMMARY_OF_NETS; v++)
        head.floor[v] = read_number(&s->r);
    if (!known || s->r.bad || bytes.len > SUMMARY_MAX || head.name.len > SUMMARY_NAME_MAX || !is_printable(head.name))
        return ERR_FORMAT;
    *ret = head;
    return 0;
}

static bool read_key(struct rd *r, struct summary_entry *e) {
    static const uint8_t mapped[] = {[10] = 0xff, 0xff};
    if (e->kind == SUMMARY_VERIFIED) {
        struct span name = rd_vec8(r);
        if (name.len == 0 || name.len > sizeof(e->key) || memchr(name.p, 0, name.len))
            return false;
        memcpy(e->key, name.p, name.len);
        e->key_len = (uint8_t)name.len;
        return true;
    }
    e->key_len = 16;
    if (e->kind == SUMMARY_IPV4)
        memcpy(e->key, mapped, sizeof(mapped));
    rd_copy(r, e->key + parts[e->kind].at, parts[e->kind].len);
    if (e->kind == SUMMARY_IPV6_56 || e->kind == SUMMARY_IPV6_48)
        e->key[15] = e->kind == SUMMARY_IPV6_56 ? 56 : 48;
    return true;
}

static bool is_plausible(const struct summary_entry *e) {
    for (unsigned v = 0; v < SUMMARY_OF_NETS; v++)
        if (e->values[v] > PEERS_COUNT_MAX)
            return false;
    return true;
}

int summary_next(struct summary_reader *s, const struct summary_entry **ret) {
    while (rd_left(&s->r)) {
        struct summary_entry e = {.kind = (enum summary_kind)rd_u8(&s->r)};
        if (e.kind >= SUMMARY_KINDS || s->n == SUMMARY_ENTRIES || !read_key(&s->r, &e))
            return ERR_FORMAT;
        for (unsigned v = 0; v < values_of(e.kind); v++)
            e.values[v] = read_number(&s->r);
        if (s->r.bad || (s->n && summary_order(&s->last, &e) >= 0))
            return ERR_FORMAT;
        s->n++;
        s->last = e;
        *ret = &s->last;
        if (is_plausible(&e))
            return 1;
        s->skipped++;
    }
    return 0;
}

int summary_check(struct span bytes, struct summary_head *ret, size_t *ret_entries, size_t *ret_skipped) {
    struct summary_reader s;
    const struct summary_entry *e;
    int err = summary_begin(&s, bytes, ret);
    for (int more = 1; err == 0 && more > 0;)
        if ((more = summary_next(&s, &e)) < 0)
            err = more;
    *ret_entries = s.n;
    *ret_skipped = s.skipped;
    return err;
}

size_t summary_nets(const struct summary_entry *e, struct addr_net ret[static ADDR_NETS]) {
    static const size_t narrower[] = {[SUMMARY_IPV6_64] = 0, [SUMMARY_IPV6_56] = 1, [SUMMARY_IPV6_48] = 2};
    struct addr a = {.family = AF_INET};
    if (e->kind == SUMMARY_VERIFIED)
        return 0;
    if (e->kind == SUMMARY_IPV4) {
        memcpy(a.ip, e->key + 12, 4);
        return addr_nets(&a, ret);
    }
    a.family = AF_INET6;
    memcpy(a.ip, e->key, 8);
    size_t skip = narrower[e->kind], n = addr_nets(&a, ret) - skip;
    memmove(ret, ret + skip, n * sizeof(*ret));
    return n;
}
